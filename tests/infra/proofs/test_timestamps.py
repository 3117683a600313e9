"""Timestamps: the public ones, and those of an authority that the test runs."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from rfc3161_client import decode_timestamp_response

from infra.proofs.errors import NotProved
from infra.proofs.timestamps import Authority, Chain, NoTimestamp, TimestampsUnusable, authority, verify
from infra.settings import Settings
from tests.infra.proofs import tsa
from tests.infra.proofs.logs import Log
from tests.infra.proofs.test_tree import VECTORS

NOTE = Log.of(3).note().encode()


@pytest.fixture(scope="module")
def chain_and_url(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tsa")
    with tsa.running(folder) as url:
        yield Chain.of((folder / "ca.pem").read_bytes()), url, folder


@pytest.mark.parametrize(("folder", "response"), [("test_tsa", "response.tsr"), ("sigstage", "response-sha256.tsr")])
def test_the_public_timestamps_lead_to_their_certificates(folder: str, response: str) -> None:
    raw = (VECTORS / "rfc3161" / folder / response).read_bytes()
    decoded = decode_timestamp_response(raw)
    chain = Chain.of((VECTORS / "rfc3161" / folder / "ts_chain.pem").read_bytes())
    assert chain.roots
    with pytest.raises(NotProved):
        verify(raw, b"not what was stamped", chain)
    for message in (b"hello", b"hello\n", b"", b"hello world", b"blob"):
        try:
            assert verify(raw, message, chain) == decoded.tst_info.gen_time
            return
        except NotProved:
            continue
    from rfc3161_client import VerifierBuilder  # the message is not published: its hash is

    from infra.proofs.timestamps import _between, _leaf

    builder = VerifierBuilder(roots=list(chain.roots), intermediates=_between(decoded, chain))
    leaf = _leaf(decoded, chain)
    builder = builder if leaf is None else builder.tsa_certificate(leaf)
    assert builder.build().verify(decoded, decoded.tst_info.message_imprint.message)


@pytest.mark.invariant("LG13")
def test_a_timestamp_is_over_the_note_and_nothing_else(chain_and_url) -> None:
    chain, url, folder = chain_and_url
    response, at = Authority(url, chain).stamp(NOTE)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert verify(response, NOTE, chain) == at
    for wrong in (NOTE + b"\n", NOTE[:-1], b"", Log.of(4).note().encode()):
        with pytest.raises(NotProved):
            verify(response, wrong, chain)
    with pytest.raises(NotProved):
        verify(response, NOTE, chain, nonce=1)
    strangers = Chain.of((VECTORS / "rfc3161" / "sigstage" / "ts_chain.pem").read_bytes())
    with pytest.raises(NotProved):
        verify(response, NOTE, strangers)
    (folder / "note").write_bytes(NOTE)
    (folder / "token").write_bytes(response)
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", folder / "note", "-in", folder / "token", "-CAfile", folder / "ca.pem"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout + done.stderr


@pytest.mark.invariant("LG13")
def test_every_changed_byte_of_a_timestamp_is_found(chain_and_url) -> None:
    chain, url, _ = chain_and_url
    response, at = Authority(url, chain).stamp(NOTE)
    survived = []
    for place in range(len(response)):
        changed = bytearray(response)
        changed[place] ^= 1 << place % 8
        try:
            if verify(bytes(changed), NOTE, chain) != at:
                survived.append(place)
        except NotProved:
            continue
    assert survived == []  # what is accepted still says the same time of the same note


def test_an_answer_to_another_request_is_not_taken(chain_and_url, monkeypatch) -> None:
    chain, url, _ = chain_and_url
    earlier, _ = Authority(url, chain).stamp(NOTE)
    monkeypatch.setattr("infra.proofs.timestamps._post", lambda *_: earlier)
    with pytest.raises(NoTimestamp, match="Nonce"):
        Authority(url, chain).stamp(NOTE)


def test_an_authority_that_is_away_or_answers_nonsense_is_named(chain_and_url, monkeypatch) -> None:
    chain, url, _ = chain_and_url
    with pytest.raises(NoTimestamp, match="does not answer"):
        Authority("http://127.0.0.1:9/", chain).stamp(NOTE)
    monkeypatch.setattr("infra.proofs.timestamps._post", lambda *_: b"\x30\x03\x02\x01\x02")
    with pytest.raises(NoTimestamp, match="not accepted"):
        Authority(url, chain).stamp(NOTE)


def test_settings_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    assert authority(Settings(data=tmp_path)) is None
    with pytest.raises(TimestampsUnusable, match="CHANCERY_TSA_CERTIFICATES"):
        authority(Settings(data=tmp_path, tsa_url="https://tsa.example/"))
    nothing = tmp_path / "no.pem"
    with pytest.raises(TimestampsUnusable, match="can't be read"):
        authority(Settings(data=tmp_path, tsa_url="https://tsa.example/", tsa_certificates=nothing))
    nothing.write_text("nonsense")
    with pytest.raises(TimestampsUnusable, match="PEM"):
        authority(Settings(data=tmp_path, tsa_url="https://tsa.example/", tsa_certificates=nothing))
    with pytest.raises(TimestampsUnusable, match="address"):
        authority(Settings(data=tmp_path, tsa_url="ftp://tsa.example/", tsa_certificates=nothing))
    with pytest.raises(ValidationError):
        Settings(data=tmp_path, log_origin="with space")
