"""RFC 3161 timestamps: an authority's word that a checkpoint's note existed at a time, asked for and verified.

LG13  A timestamp is kept only if it is over the SHA-256 of the note, answers our own request, and leads to a certificate that was given.
"""

import hashlib
import http.client
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import rfc3161_client
from cryptography import x509
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, TimeStampResponse, VerifierBuilder, decode_timestamp_response

from infra.proofs.errors import NotProved
from infra.settings import Settings

LARGEST = 100_000
PATIENCE = 15.0


class NoTimestamp(Exception):
    """The time-stamping authority gave no timestamp; the message says why."""


class TimestampsUnusable(Exception):
    """The settings of timestamps can't be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The certificates a timestamp must lead to: the self-signed ones, and those between."""

    roots: tuple[x509.Certificate, ...]
    between: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, pem: bytes) -> "Chain":
        """From a PEM file, in any order. Where none is self-signed, all are trusted as they are."""
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except ValueError as e:
            raise TimestampsUnusable("The certificates of the time-stamping authority are not PEM.") from e
        roots = tuple(c for c in certificates if c.issuer == c.subject)
        if not roots:
            return cls(tuple(certificates), ())
        return cls(roots, tuple(c for c in certificates if c not in roots))


def verify(response: bytes, note: bytes, chain: Chain, *, nonce: int | None = None) -> datetime:
    """When the authority says that the note existed; NotProved when the response does not say so."""
    try:
        decoded = _decoded(response)
        builder = VerifierBuilder(roots=list(chain.roots), intermediates=_between(decoded, chain), nonce=nonce)
        tsa = _leaf(decoded, chain)
        if tsa is not None:
            builder = builder.tsa_certificate(tsa)
        algorithm = decoded.tst_info.message_imprint.hash_algorithm.dotted_string
        if algorithm != rfc3161_client.verify.SHA256_OID:
            raise NotProved("the timestamp is not over a SHA-256")
        builder.build().verify(decoded, hashlib.sha256(note).digest())
        return decoded.tst_info.gen_time
    except NotProved:
        raise
    except Exception as e:  # the bytes are a stranger's, and the libraries that read them name what is wrong by many classes
        raise NotProved(f"the timestamp does not hold: {e}") from e


def _decoded(response: bytes) -> TimeStampResponse:
    """Widespread authorities (openssl's among them) do not sort the certificates they send, which DER asks for. They are not signed."""
    try:
        return decode_timestamp_response(response)
    except ValueError as e:
        if "SetOrdering" not in str(e):
            raise
        return decode_timestamp_response(_with_sorted_certificates(response))


def _with_sorted_certificates(response: bytes) -> bytes:
    """The response with its certificates in DER's order; ValueError when it is not one."""
    _, begin, end = _element(response, 0)  # TimeStampResp
    _, _, begin = _element(response, begin)  # status
    _, begin, end = _element(response, begin)  # ContentInfo
    _, _, begin = _element(response, begin)  # contentType
    _, begin, end = _element(response, begin)  # content
    _, begin, end = _element(response, begin)  # SignedData
    while begin < end:
        tag, inner, begin = _element(response, begin)
        if tag == 0xA0:
            certificates = []
            at = inner
            while at < begin:
                _, _, after = _element(response, at)
                certificates.append(response[at:after])
                at = after
            return response[:inner] + b"".join(sorted(certificates)) + response[begin:]
    raise ValueError("no certificates")


def _element(raw: bytes, at: int) -> tuple[int, int, int]:
    """An element of DER: its tag, where its content begins, where it ends."""
    if at + 2 > len(raw):
        raise ValueError("cut short")
    length, begin = raw[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(raw[at + 2 : begin], "big")
    if begin + length > len(raw):
        raise ValueError("cut short")
    return raw[at], begin, begin + length


def _carried(response: TimeStampResponse) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(raw) for raw in response.signed_data.certificates]


def _between(response: TimeStampResponse, chain: Chain) -> list[x509.Certificate]:
    carried = [c for c in _carried(response) if c.issuer != c.subject and c not in chain.between]
    return [*chain.between, *carried]


def _leaf(response: TimeStampResponse, chain: Chain) -> x509.Certificate | None:
    """The signing certificate, where the response does not carry it."""
    if response.signed_data.certificates:
        return None
    serials = {s.serial_number for s in response.signed_data.signer_infos}
    return next((c for c in (*chain.between, *chain.roots) if c.serial_number in serials), None)


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamping authority, and whom its timestamps must lead to."""

    url: str
    chain: Chain

    def stamp(self, note: bytes) -> tuple[bytes, datetime]:
        """A timestamp over the note (TimeStampResp, DER), and the time it states. NoTimestamp says why there is none."""
        request = (
            TimestampRequestBuilder()
            .data(note)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        response = _post(self.url, request.as_bytes())
        try:
            return response, verify(response, note, self.chain, nonce=request.nonce)
        except NotProved as e:
            raise NoTimestamp(f"The answer of the time-stamping authority was not accepted: {e}.") from e


def authority(settings: Settings) -> Authority | None:
    """The one that the settings name; None when they name none."""
    if settings.tsa_url is None:
        return None
    if settings.tsa_certificates is None:
        raise TimestampsUnusable(
            "CHANCERY_TSA_URL is set, but not CHANCERY_TSA_CERTIFICATES: a timestamp that leads nowhere proves nothing."
        )
    parts = urlsplit(settings.tsa_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TimestampsUnusable("CHANCERY_TSA_URL is not an address that begins with https:// or http://.")
    try:
        pem = Path(settings.tsa_certificates).read_bytes()
    except OSError as e:
        raise TimestampsUnusable(f"CHANCERY_TSA_CERTIFICATES can't be read: {e.strerror}.") from e
    return Authority(settings.tsa_url, Chain.of(pem))


def _post(url: str, body: bytes) -> bytes:
    """Ask over HTTP (RFC 3161, section 3.4); redirects are not followed."""
    parts = urlsplit(url)
    host = str(parts.hostname)
    kind: http.client.HTTPConnection
    if parts.scheme == "https":
        kind = http.client.HTTPSConnection(host, parts.port, timeout=PATIENCE, context=ssl.create_default_context())
    else:
        kind = http.client.HTTPConnection(host, parts.port, timeout=PATIENCE)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind.request("POST", path, body, {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"})
        answer = kind.getresponse()
        raw = answer.read(LARGEST + 1)
    except (OSError, http.client.HTTPException) as e:
        raise NoTimestamp(f"The time-stamping authority at {host} does not answer: {type(e).__name__}.") from e
    finally:
        kind.close()
    if answer.status != 200 or len(raw) > LARGEST:
        raise NoTimestamp(f"The time-stamping authority at {host} answered {answer.status} with {len(raw)} bytes.")
    return raw


def subjects(chain: Chain) -> Sequence[str]:
    """Whom timestamps lead to, as people read it."""
    return [c.subject.rfc4514_string() for c in chain.roots]
