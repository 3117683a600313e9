"""Proofs of consent over HTTP, and their verification for whoever has no account.

`POST /v1/verify` takes a bundle, a proof of a leaf with the leaf, a certificate, or the digest of a document, and keeps nothing of it.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import FirmId, NotFound
from infra.http.commands import read_body
from infra.http.log import FORKED, NOT_KEPT, altered, begun
from infra.http.problems import HttpProblem
from infra.http.reads import json_response, parameters
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service
from infra.proofs import certificates
from infra.proofs.bundle import DISCLOSABLE, ChainTooLong, NotYetProvable, Wanted, bundle
from infra.proofs.certificates import certify
from infra.proofs.encoding import b64, unb64
from infra.proofs.errors import NotProved
from infra.proofs.going_on import MOST_BYTES, AnotherLog, Forked, going_on
from infra.proofs.notes import Verifier
from infra.proofs.policy import Policy
from infra.proofs.signing import SigningKeys
from infra.proofs.store import AsyncLogStore, Beyond, NodeCache, NoLog, RecordAltered
from infra.proofs.tlogproof import TlogProof, claimed
from infra.proofs.tree import leaf_hash
from infra.record.codec import unb64url
from verifier import chancery_verify
from verifier.chancery_verify import Entry, Verified

log = structlog.get_logger()

PERSONAL = "personal:read"
DOCUMENT_FORMAT = "chancery-document-proof/v1"
DOCUMENT_KIND = "chancery.document/v1"
MOST_BODY = 5_000_000
TRUST = "Verified with this installation's own keys. To depend on nobody, verify it with chancery_verify.py and a key you got elsewhere."
_VERSION = (
    "SELECT v.document, v.number, v.sha256, v.size, v.added_at, v.position FROM views.document_versions v JOIN views.documents d"
    " ON d.firm_id = %(firm)s AND d.id = v.document WHERE v.firm_id = %(firm)s AND d.discarded_at IS NULL"
)
NAMES_SQL = (
    "SELECT f.name AS firm, c.name FROM views.firms f LEFT JOIN views.contacts c ON c.firm_id = %(firm)s AND c.id = %(contact)s"
    " WHERE f.firm_id = %(firm)s"
)
FIRM_SQL = "SELECT name FROM views.firms WHERE firm_id = %(firm)s"
PURPOSES_SQL = "SELECT key, name FROM views.purposes WHERE firm_id = %(firm)s"
TITLES_SQL = (
    "SELECT n.id::text, (v ->> 'number')::int AS version, v ->> 'title' AS title FROM views.notices n, jsonb_array_elements(n.versions) v"
    " WHERE n.firm_id = %(firm)s AND n.id = ANY(%(notices)s::uuid[])"
)
VERSION_SQL = f"{_VERSION} AND v.document = %(document)s AND v.number = %(number)s"
DIGEST_SQL = f"{_VERSION} AND v.sha256 = %(sha256)s ORDER BY v.position LIMIT 1"
MOST_OLDER = 20
_FIRM = r"/firms/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/[1-9][0-9]{0,3})?"


class Proofs:
    """The routes of proofs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cache = NodeCache()

    def routes(self) -> list[tuple[str, str, str, Endpoint]]:
        return [
            ("GET", "/v1/contacts/{id}/consent:proof", "consent.proof", self._consent),
            ("GET", "/v1/contacts/{id}/consent:paper", "consent.paper", self._paper),
            ("GET", "/v1/documents/{id}/versions/{number}/certificate", "documents.certificate", self._certificate),
            ("POST", "/v1/verify", "verify", self._verify),
        ]

    async def _consent(self, request: Request) -> Response:
        contact, made, _ = await self._bundle_of(request)
        headers = {"Cache-Control": NOT_KEPT, "Content-Disposition": f'attachment; filename="consent-{contact}.proof.json"'}
        return Response(orjson.dumps(made), media_type="application/json", headers=headers)

    async def _paper(self, request: Request) -> Response:
        from infra.proofs.paper import MOST, paper

        contact, made, principal = await self._bundle_of(request)
        if len(made["entries"]) > MOST:
            said = f"The chain has more than {MOST} acts, which is more than is printed. Take consent:proof, the same in one file."
            raise HttpProblem(409, "chain-too-long", said)
        keys = "\n".join(map(str, self._keys(made["summary"]["log"])))
        found = await asyncio.to_thread(chancery_verify.verify, orjson.dumps(made), chancery_verify.of_keys(keys))
        async with self._service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            names = await r.one(NAMES_SQL, contact=contact)
            called = {p["key"]: p["name"] for p in await r.all(PURPOSES_SQL)}
            titles = {(n["id"], n["version"]): n["title"] for n in await r.all(TITLES_SQL, notices=_notices_of(found))}
        name = names["name"] if names is not None and PERSONAL in principal.permissions else None
        firm = (names["firm"] if names is not None else None) or "The firm"
        link = f"{self._service.chancery.settings.public_url.rstrip('/')}/p/verify"
        pdf = await asyncio.to_thread(paper, made, found, firm=firm, name=name, link=link, purposes=called, notices=titles)
        headers = {"Cache-Control": NOT_KEPT, "Content-Disposition": f'attachment; filename="consent-{contact}.pdf"'}
        return Response(pdf, media_type="application/pdf", headers=headers)

    async def _bundle_of(self, request: Request) -> tuple[UUID, dict[str, Any], Principal]:
        principal = await self._service.principal(request)
        principal.need("consent:read")
        principal.need("log:read")
        asked = parameters(request, ("disclose", "old", "kept", "notices"))
        wanted = self._wanted(asked, principal)
        kept = _kept(asked["kept"]) if "kept" in asked else None
        contact = _id(request.path_params["id"])
        if "log" in self._service.chancery.feed.positions:
            await self._service.wait_for(request, ("log",))
        async with self._service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            store = AsyncLogStore(r.connection, principal.firm, self._cache)
            try:
                made = await bundle(store, self._service.chancery.vault, principal.firm, contact, wanted)
                if kept is not None:
                    made = await going_on(store, made, kept, self._keys(made["checkpoint"].partition("\n")[0]))
            except AnotherLog as e:
                raise HttpProblem(422, "another-log", f"The checkpoint you kept can't be used: {e}.") from e
            except Forked as e:
                log.error("log.forked", firm=str(principal.firm))
                raise HttpProblem(409, "log-forked", FORKED) from e
            except NoLog as e:
                raise begun() from e
            except RecordAltered as e:
                raise altered(principal.firm, e) from e
            except NotYetProvable as e:
                raise _not_yet() from e
            except ChainTooLong as e:
                raise HttpProblem(409, "chain-too-long", f"{e}. Ask whoever runs this installation for the whole log.") from e
            except Beyond as e:
                raise HttpProblem(
                    404,
                    "checkpoint-not-kept",
                    f"No checkpoint of {e.asked} entries is kept here; the log has {e.size}. One an hour is kept. Send the checkpoint that you"
                    " kept yourself as `kept`, base64url of its file.",
                ) from e
        return contact, made, principal

    # --- documents

    async def _certificate(self, request: Request) -> Response:
        principal = await self._service.principal(request)
        principal.need("documents:read")
        principal.need("log:read")
        parameters(request, ())
        document, number = _id(request.path_params["id"]), request.path_params["number"]
        if not re.fullmatch(r"[1-9][0-9]{0,5}", number):
            raise NotFound(kind="document_version")
        if "log" in self._service.chancery.feed.positions:
            await self._service.wait_for(request, ("log", "document_versions"))
        async with self._service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            row = await r.one(VERSION_SQL, document=document, number=int(number))
            if row is None:
                raise NotFound(kind="document_version", id=str(document), number=int(number))
            made = await self._notarised(AsyncLogStore(r.connection, principal.firm, self._cache), principal.firm, row)
        name = f"{row['sha256'][:16]}.certificate.json"
        headers = {"Cache-Control": NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(orjson.dumps(made), media_type="application/json", headers=headers)

    async def _notarised(self, store: AsyncLogStore, firm: UUID, row: Mapping[str, Any]) -> dict[str, Any]:
        """The certificate of a version, with the leaf that recorded it and its proof."""
        try:
            index = await store.index_at(row["position"])
            proof = await store.proof(index) if index is not None else None
            leaf = (await store.leaves([index])).get(index) if index is not None else None
        except NoLog as e:
            raise begun() from e
        except RecordAltered as e:
            raise altered(firm, e) from e
        except Beyond as e:
            raise _not_yet() from e
        if proof is None or leaf is None:
            raise NotFound(kind="document_version")
        chancery = self._service.chancery
        said = orjson.loads(leaf)
        statement = {
            "document": str(row["document"]),
            "leaf_index": proof.index,
            "recorded_at": said["recordedtime"],
            **({"dated": said["time"]} if said["time"] != said["recordedtime"] else {}),  # by whoever added it
            "sha256": row["sha256"],
            "size": row["size"],
            "version": row["number"],
        }
        return {
            "format": DOCUMENT_FORMAT,
            "certificate": certify(chancery.settings, chancery.vault, firm, DOCUMENT_KIND, statement, origin=claimed(proof).origin),
            "leaf": b64(leaf),
            "proof": str(proof),
        }

    # --- for whoever has no account

    async def _verify(self, request: Request) -> Response:
        """Verify what is sent, and keep nothing of it."""
        parameters(request, ())
        self._service.take_of_stranger(request)
        raw = await read_body(request, MOST_BODY)
        try:
            body = await asyncio.to_thread(parsed, raw)
        except orjson.JSONDecodeError as e:
            raise HttpProblem(400, "body-malformed", "The body is not JSON.") from e
        except chancery_verify.NotProved as e:
            return json_response(_no(str(e)))
        return json_response(await self.judged(body))

    async def judged(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is proved by what was sent, or why nothing is; of a proof of consent also the acts that it proves."""
        if body.get("format") == chancery_verify.FORMAT:
            body = {"bundle": body}
        if body.get("format") == DOCUMENT_FORMAT:
            body = {"document": body}
        match sorted(body):
            case ["bundle"]:
                found = await asyncio.to_thread(self._bundle, body["bundle"])
                return await self._as_kept(found) if found["verified"] else found
            case ["document"] | ["document", "sha256"]:
                found = await asyncio.to_thread(self._document, body["document"], body.get("sha256"))
                return await self._as_kept(found) if found["verified"] else found
            case ["certificate"]:
                return await asyncio.to_thread(self._note, body["certificate"])
            case ["log", "sha256"]:
                return await self._digest(body["log"], body["sha256"])
            case _:
                raise _unusable()

    def _keys(self, origin: str) -> list[Verifier]:
        """All keys of a log of this installation, the rotated ones too; none for another's."""
        settings = self._service.chancery.settings
        if not re.fullmatch(re.escape(settings.log_origin) + _FIRM, origin):
            return []
        return [s.verifier for s in SigningKeys(self._service.chancery.vault.folder, settings.signing_key).signers(origin)]

    def _bundle(self, sent: object) -> dict[str, Any]:
        if not isinstance(sent, dict):
            return _no("A bundle is a JSON object: send the file as it was given to you.")
        raw, note = orjson.dumps(sent), sent.get("checkpoint")
        origin = note.partition("\n")[0] if isinstance(note, str) else ""
        keys = self._keys(origin)
        if not keys:
            return _no("The bundle is of a log that this installation does not keep, so it has no key to verify it with.")
        try:
            found = chancery_verify.verify(raw, chancery_verify.of_keys("\n".join(map(str, keys))))
        except chancery_verify.NotProved as e:
            return _no(str(e))
        return {
            "verified": True,
            "what": "consent",
            "log": found.log,
            "size": found.size,
            "contact": found.contact,
            "events": len(found.entries),
            "chain": [_act(e) for e in found.entries],
            "complete_as_of": found.complete_as_of,
            "entries_after_seal": found.after,
            "root": found.root,
            "trust": TRUST,
        }

    async def _as_kept(self, found: dict[str, Any]) -> dict[str, Any]:
        """The same, if the checkpoint is one of the log as it is kept here: whoever stole a key can sign another history, and not keep it."""
        root = found.pop("root")
        firm = self._firm_of(found["log"])
        async with self._service.chancery.readers.reading(firm, frozenset({"log:read"})) as r:
            store = AsyncLogStore(r.connection, firm, self._cache)
            try:
                log = await store.log()
            except NoLog:
                return _no("This installation keeps no such log.")
            if log.origin != found["log"]:
                return found  # a log that was begun anew: this one is no longer carried on, and its tiles are gone
            if found["size"] > log.size:
                return _no(
                    f"The checkpoint has {found['size']} entries, more than the {log.size} of the log that is kept here. Keep the file: it"
                    " shows that the log was rolled back, or that somebody else signs with its key."
                )
            if await store.root(log, found["size"]) != root:
                return _no(
                    f"The checkpoint of {found['size']} entries is signed by a key of the log, and is of another history than is kept here."
                    " Keep the file: it shows a fork."
                )
        return found

    async def firm_of_log(self, origin: str) -> str | None:
        """What the firm calls itself whose log this is."""
        async with self._service.chancery.readers.reading(self._firm_of(origin), frozenset({"log:read"})) as r:
            row = await r.one(FIRM_SQL)
            return None if row is None else str(row["name"])

    def _firm_of(self, origin: str) -> FirmId:
        return FirmId(UUID(origin.removeprefix(f"{self._service.chancery.settings.log_origin}/firms/")[:36]))

    def _document(self, sent: object, sha256: object) -> dict[str, Any]:
        if not isinstance(sent, dict) or sorted(sent) != ["certificate", "format", "leaf", "proof"]:
            return _no("A certificate of a document has the members format, certificate, leaf and proof, and no others.")
        try:
            proof = TlogProof.parse(str(sent["proof"]).encode())
            origin = claimed(proof).origin
            keys = self._keys(origin)
            if not keys:
                return _no("The proof is of a log that this installation does not keep, so it has no key to verify it with.")
            kind, statement = certificates.read(str(sent["certificate"]), keys)
            leaf = unb64(str(sent["leaf"]))
            checkpoint = proof.verify(leaf_hash(leaf), Policy.of_keys(keys).accept)
        except NotProved as e:
            return _no(str(e))
        event = orjson.loads(leaf)
        said = {"sha256": event["data"].get("sha256"), "index": proof.index, "log": origin}
        if kind != DOCUMENT_KIND or said != {
            "sha256": statement.get("sha256"),
            "index": statement.get("leaf_index"),
            "log": statement.get("log"),
        }:
            return _no("The certificate speaks of another document than the entry of the log.")
        if sha256 is not None and sha256 != statement["sha256"]:
            return _no("The file is another one: its SHA-256 is not that of the certificate.")
        return {
            "verified": True,
            "what": "document",
            "log": origin,
            "size": checkpoint.size,
            "statement": statement,
            "root": checkpoint.root,
            "trust": TRUST,
        }

    def _note(self, sent: object) -> dict[str, Any]:
        try:
            lines = str(sent).split("\n")
            claims = orjson.loads(lines[1]) if len(lines) > 1 else {}
            origin = str(claims.get("log")) if isinstance(claims, dict) else ""
            keys = self._keys(origin)
            if not keys:
                return _no("The certificate is of a log that this installation does not keep, so it has no key to verify it with.")
            kind, statement = certificates.read(str(sent), keys)
        except orjson.JSONDecodeError:
            return _no("The certificate is not in the form of one: its second line is not JSON.")
        except NotProved as e:
            return _no(str(e))
        return {"verified": True, "what": kind, "statement": statement, "trust": TRUST}

    async def _digest(self, origin: object, sha256: object) -> dict[str, Any]:
        """Whether a firm has recorded a document of these bytes: asked by whoever holds the file and knows the firm's log."""
        if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise HttpProblem(400, "digest-malformed", "The member sha256 is 64 hexadecimal digits, in lower case.")
        if not isinstance(origin, str) or not self._keys(origin):
            return _no("This installation keeps no such log.")
        firm = self._firm_of(origin)
        async with self._service.chancery.readers.reading(firm, frozenset({"documents:read"})) as r:
            row = await r.one(DIGEST_SQL, sha256=sha256)
            if row is None:
                return _no("The firm has recorded no document of these bytes, or has discarded it.")
            made = await self._notarised(AsyncLogStore(r.connection, firm, self._cache), firm, row)
        found = await asyncio.to_thread(self._document, made, sha256)
        return {**(await self._as_kept(found) if found["verified"] else found), "certificate": made}

    @staticmethod
    def _wanted(asked: dict[str, str], principal: Principal) -> Wanted:
        said = asked.get("disclose", "none")
        disclose: tuple[str, ...] | None = None if said == "all" else () if said == "none" else tuple(said.split(","))
        if disclose and not set(disclose) <= set(DISCLOSABLE):
            raise HttpProblem(
                400,
                "parameter-malformed",
                f"The parameter disclose is none, all, or some of these with commas between: {', '.join(DISCLOSABLE)}.",
                parameter="disclose",
            )
        if disclose is None or disclose:
            principal.need(PERSONAL)
        older = asked.get("old", "").split(",") if asked.get("old") else []
        if len(older) > MOST_OLDER or not all(re.fullmatch(r"[1-9][0-9]{0,15}", n) for n in older):
            raise HttpProblem(
                400, "parameter-malformed", f"The parameter old is up to {MOST_OLDER} sizes of kept checkpoints.", parameter="old"
            )
        notices = asked.get("notices", "true")
        if notices not in {"true", "false"}:
            raise HttpProblem(400, "parameter-malformed", "The parameter notices is true or false.", parameter="notices")
        return Wanted(disclose=disclose, older=[int(n) for n in older], notices=notices == "true")


def _kept(sent: str) -> bytes:
    """The checkpoint that somebody kept, as it stands in an address."""
    try:
        raw = unb64url(sent) if len(sent) <= MOST_BYTES and re.fullmatch(r"[A-Za-z0-9_-]+=*", sent) else b""
        raw.decode()
    except ValueError:
        raw = b""
    if not raw:
        raise HttpProblem(
            400,
            "parameter-malformed",
            f"The parameter kept is a checkpoint in base64url, up to {MOST_BYTES} letters.",
            parameter="kept",
        )
    return raw


def parsed(raw: bytes) -> Any:
    """What was sent, by two readers: the quick one refuses what is no object, the strict one what others would read differently."""
    if not isinstance(orjson.loads(raw), dict):
        raise _unusable()
    return chancery_verify.parsed(raw, "what was sent")


def _not_yet() -> HttpProblem:
    why = (
        "The firm's log does not have this yet. It follows the record within a second: try again shortly. Where that does not help, whoever"
        " runs this installation is told why by `chancery log status`."
    )
    return HttpProblem(503, "log-behind", why, headers={"Retry-After": "1"})


def _notices_of(found: Verified) -> list[str]:
    """The ids of the notices that a chain rests on."""
    named = (e.event["data"].get("notice") for e in found.entries)
    return list({str(n["id"]): None for n in named if isinstance(n, dict)})


def _act(e: Entry) -> dict[str, Any]:
    """An act as a proof shows it, with what it discloses."""
    data = e.event["data"]
    when, recorded = chancery_verify.dated(e)
    return {
        "seq": data.get("seq"),
        "type": e.event.get("type", ""),
        "at": when,
        **({} if recorded is None else {"recorded_at": recorded}),  # else it is the same
        "purposes": [p["key"] for p in data.get("purposes", ())],
        "channel": data.get("channel"),
        "notice": data.get("notice"),
        "place": e.place,
        "disclosed": dict(e.disclosed),
    }


def _no(why: str) -> dict[str, Any]:
    return {"verified": False, "why": why}


def _unusable() -> HttpProblem:
    return HttpProblem(
        400,
        "nothing-to-verify",
        "Send a bundle, a certificate of a document (with sha256 of the file, if you like), a certificate, or sha256 and log.",
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(kind="consent") from None
