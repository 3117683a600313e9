"""The log over HTTP: a stranger with the vkey alone checks everything that is served."""

import gzip
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from domain.firms import Region
from domain.members import Role
from infra.cli.firms import create_firm
from infra.database import Database
from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.encoding import unb64
from infra.proofs.notes import COSIGNATURE, Note, Signer, Verifier
from infra.proofs.policy import Policy
from infra.proofs.signing import SigningKeys
from infra.proofs.tiles import addresses, node_from
from infra.proofs.timestamps import Chain, verify
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import leaf_hash, root, verify_inclusion
from infra.proofs.witness import AddCheckpoint
from infra.settings import Settings
from tests.house import House, a_house
from tests.infra.proofs import tsa
from tests.infra.proofs.logs import cosign, unbundle

W1 = Signer("witness.example/w1", b"1" * 32, COSIGNATURE)
W2 = Signer("witness.example/w2", b"2" * 32, COSIGNATURE)
STRANGER = Signer("witness.example/w3", b"3" * 32, COSIGNATURE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(settings: Settings, database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("log")
    policy = folder / "witnesses"
    policy.write_text(f"witness w1 {W1.verifier}\nwitness w2 {W2.verifier}\ngroup both all w1 w2\nquorum both\n")
    with tsa.running(folder) as url:
        more = {"witnesses": policy, "tsa_url": url, "tsa_certificates": folder / "ca.pem"}
        async with a_house(settings.model_copy(update=more), database) as opened_house:
            yield opened_house


async def contact(house: House, name: str) -> tuple[str, int]:
    done = await house.client.post("/v1/contacts", json={"display_name": name})
    assert done.status_code == 201, done.text
    return done.json()["id"], done.json()["position"]


async def text(house: House, path: str, position: int | None = None) -> str:
    headers = {} if position is None else {"Chancery-Position": str(position)}
    done = await house.client.get(f"/v1/log/{path}", headers=headers)
    assert done.status_code == 200, done.text
    return done.text


async def policy(house: House) -> Policy:
    return Policy.of_keys([Verifier.parse((await text(house, "vkey")).strip())])


async def test_a_written_event_is_proved_to_whoever_has_the_vkey(house: House) -> None:
    _, position = await contact(house, "Ann-Sofie Öst")
    done = await house.client.get("/v1/log/proofs", params={"position": position})
    assert done.status_code == 200, done.text
    assert len(done.content) <= 1_500
    proof = TlogProof.parse(done.content)
    checkpoint = (await policy(house)).accept(proof.checkpoint.encode())
    bundle = await house.client.get(f"/v1/log/tile/entries/000.p/{checkpoint.size}")
    entries = unbundle(bundle.content)
    assert b"contacts.Created.v1" in entries[proof.index]
    assert b"Ann-Sofie" not in bundle.content  # a hyphen is in no base64
    assert proof.verify(leaf_hash(entries[proof.index]), (await policy(house)).accept) == checkpoint
    same = await house.client.get(f"/v1/log/proofs/{proof.index}")
    assert TlogProof.parse(same.content).index == proof.index


async def test_the_whole_log_is_served_in_the_layout_of_others(house: House) -> None:
    position = 0
    for n in range(270):
        _, position = await contact(house, f"Person {n}")
    checkpoint = (await policy(house)).accept((await text(house, "checkpoint", position)).encode())
    assert checkpoint.size > 270
    tiles, entries = {}, []
    for address in addresses(checkpoint.size):
        done = await house.client.get(f"/v1/log/{address}")
        assert done.status_code == 200, (str(address), done.text)
        assert done.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert done.headers["content-type"] == "application/octet-stream"
        tiles[address.level, address.place] = done.content
        if address.level == 0:
            path = f"/v1/log/{str(address).replace('tile/0/', 'tile/entries/')}"
            plain = await house.client.get(path, headers={"Accept-Encoding": "identity"})
            packed = await house.client.get(path, headers={"Accept-Encoding": "gzip"})
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.content == plain.content
            assert len(gzip.compress(plain.content)) < len(plain.content)
            entries += unbundle(plain.content)
    assert root(checkpoint.size, node_from(lambda level, place: tiles[level, place])) == checkpoint.root
    assert [leaf_hash(e) for e in entries] == [t for p in (0, 1) for t in _split(tiles[0, p])]
    newest = await house.client.get("/v1/log/checkpoint")
    assert newest.headers["cache-control"] == "private, no-cache"
    assert newest.headers["content-type"] == "text/plain; charset=utf-8"


def _split(tile: bytes) -> list[bytes]:
    return [tile[n : n + 32] for n in range(0, len(tile), 32)]


@pytest.mark.parametrize(
    "path",
    ["tile/0/999", "tile/9/000", "tile/0/000.p/256", "tile/0/0", "tile/0/x000/001", "tile/entries/x001/x000/000", "tile/entries/007.p/3",
     "tile/1/000.p/200", "tile/64/000", "proofs/99999999"],
)  # fmt: skip
async def test_what_the_log_does_not_have_is_not_there(house: House, path: str) -> None:
    assert (await house.client.get(f"/v1/log/{path}")).status_code == 404


async def test_an_older_checkpoint_is_carried_on(house: House) -> None:
    first = (await text(house, "checkpoint")).encode()
    trust = await policy(house)
    old = trust.accept(first)
    _, position = await contact(house, "Later")
    body = AddCheckpoint.parse((await text(house, f"consistency?old={old.size}", position)).encode())
    new = body.verify(old, trust.accept)
    assert new.size > old.size
    assert AddCheckpoint.parse((await text(house, "consistency?old=0")).encode()).hashes == ()
    for bad, status in (("999999999", 409), ("", 400), ("-1", 400), ("01", 400), ("x", 400)):
        assert (await house.client.get("/v1/log/consistency", params={"old": bad})).status_code == status


async def test_witnesses_cosignatures_are_verified_kept_and_served(house: House) -> None:
    raw = (await text(house, "checkpoint")).encode()
    note = Note.parse(raw)
    now = int(time.time())
    assert (await house.client.get("/v1/log/checkpoint?witnessed=true")).status_code == 404
    handed = Note(note.text, (*note.signatures, cosign(note.text, W1, now=now), cosign(note.text, STRANGER, now=now)))
    done = await house.client.post("/v1/log/cosignatures", content=str(handed))
    assert (done.status_code, done.json()["witnesses"]) == (200, ["witness.example/w1"]), done.text
    _, position = await contact(house, "After the witness")
    await text(house, "checkpoint", position)
    size = Checkpoint.parse(note.text).size
    kept = Note.parse((await text(house, f"checkpoint?size={size}")).encode())
    assert [s.name for s in kept.signatures] == [note.signatures[0].name, "witness.example/w1"]
    assert (await house.client.get("/v1/log/checkpoint?witnessed=true")).status_code == 404, "one of two is no quorum"
    handed = Note(kept.text, (*kept.signatures, cosign(note.text, W2, now=now)))
    assert (await house.client.post("/v1/log/cosignatures", content=str(handed))).status_code == 200
    witnessed = (await text(house, "checkpoint?witnessed=true")).encode()
    log = Verifier.parse((await text(house, "vkey")).strip())
    full = f"log {log}\nwitness a {W1.verifier}\nwitness b {W2.verifier}\ngroup g all a b\nquorum g\n"
    assert Policy.parse(full.encode()).accept(witnessed).size == size


async def test_what_is_no_cosignature_of_ours_is_refused(house: House, settings: Settings) -> None:
    raw = (await text(house, "checkpoint")).encode()
    note = Note.parse(raw)
    signer = SigningKeys(settings.keys_folder).newest(Checkpoint.parse(note.text).origin)
    now = int(time.time())

    async def post(text: str) -> tuple[int, str]:
        done = await house.client.post("/v1/log/cosignatures", content=text)
        return done.status_code, done.json().get("type", "").removeprefix("urn:chancery:problem:")

    assert await post(str(note)) == (422, "not-cosigned")
    assert await post(str(Note(note.text, (*note.signatures, cosign(note.text, STRANGER, now=now))))) == (422, "not-cosigned")
    late = cosign(note.text, W1, now=now + 10 * 86_400)
    assert await post(str(Note(note.text, (*note.signatures, late)))) == (422, "not-cosigned")
    unsigned = Note(note.text, (cosign(note.text, W1, now=now),))
    assert await post(str(unsigned)) == (422, "not-our-checkpoint")
    assert await post("nonsense") == (422, "not-our-checkpoint")
    here = Checkpoint.parse(note.text)
    for forged in (Checkpoint(here.origin, here.size, bytes(32)), Checkpoint(here.origin, here.size + 10_000, here.root)):
        both = Note(forged.text, (signer.sign(forged.text), cosign(forged.text, W1, now=now)))
        assert await post(str(both)) == (409, "log-forked")


async def test_a_firms_log_is_its_own(house: House) -> None:
    other = await house.another_firm()
    position = (await contact(other, "Theirs"))[1]
    mine = (await policy(house)).accept((await text(house, "checkpoint")).encode())
    theirs = await text(other, "checkpoint", position)
    assert opened(theirs.encode(), [Verifier.parse((await text(other, "vkey")).strip())]).origin != mine.origin
    assert (await text(other, "vkey")) != (await text(house, "vkey"))
    assert (await house.client.get("/v1/log/proofs", params={"position": position})).status_code == 404
    nobody = house.as_key(None)
    assert (await nobody.get("/v1/log/checkpoint")).status_code == 401


async def test_the_log_needs_its_permission(house: House) -> None:
    adviser = await house.as_role(Role.ADVISER)
    auditor = await house.as_role(Role.AUDITOR)
    _, position = await contact(house, "Begun")
    proved = await house.client.get("/v1/log/proofs", params={"position": position})  # waits for the log, which is just begun
    assert proved.status_code == 200, proved.text
    for path in ("checkpoint", "vkey", "keys", "tile/0/000", "proofs/0", "consistency?old=1", "heads", "timestamps"):
        assert (await adviser.get(f"/v1/log/{path}")).status_code == 403, path
        assert (await auditor.get(f"/v1/log/{path}")).status_code == 200, path
    for path in ("heads:seal", "timestamps"):
        assert (await auditor.post(f"/v1/log/{path}")).status_code == 403, path


async def consent(house: House, name: str) -> tuple[str, int]:
    id, _ = await contact(house, name)
    done = await house.client.post(f"/v1/contacts/{id}/consent:refuse", json={"purposes": ["news"], "channel": "email"})
    assert done.status_code < 300, done.text
    return id, done.json()["position"]


@pytest.mark.invariant("LG14")
async def test_heads_are_sealed_in_the_log_and_proved(house: House) -> None:
    made = await house.client.post(
        "/v1/purposes", json={"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#DirectMarketing"}
    )
    assert made.status_code == 201, made.text
    people = [await consent(house, f"Head {n}") for n in range(3)]
    done = await house.client.post("/v1/log/heads:seal", headers={"Chancery-Position": str(people[-1][1])})
    assert done.status_code == 200, done.text
    assert done.json()["count"] == 3
    assert (await house.client.post("/v1/log/heads:seal", json={})).status_code == 200
    assert (await house.client.post("/v1/log/heads:seal", json={"now": True})).status_code == 422
    trust = await policy(house)
    for id, position in people:
        answer = await house.client.get(f"/v1/log/heads/{id}", headers={"Chancery-Position": str(done.json()["position"])})
        assert answer.status_code == 200, answer.text
        proof = answer.json()
        tag, seq, hash = proof["head"].removesuffix("\n").split(" ")
        assert (tag, seq) == (f"consent/{id}", "1")
        leaf = leaf_hash(proof["head"].encode())
        hashes = [unb64(h) for h in proof["inclusion"]]
        verify_inclusion(proof["index"], proof["seal"]["count"], leaf, hashes, unb64(proof["seal"]["root"]))
        last = TlogProof.parse((await house.client.get("/v1/log/proofs", params={"position": position})).content)
        assert last.verify(unb64(hash), trust.accept)
        # the seal itself stands in the log
        sealing = TlogProof.parse((await house.client.get(f"/v1/log/proofs/{proof['seal']['event']}")).content)
        size = trust.accept(sealing.checkpoint.encode()).size
        place, width = proof["seal"]["event"] // 256, min(256, size - proof["seal"]["event"] // 256 * 256)
        path = f"tile/entries/{place:03}" + (f".p/{width}" if width < 256 else "")
        entry = unbundle((await house.client.get(f"/v1/log/{path}")).content)[proof["seal"]["event"] % 256]
        sealing.verify(leaf_hash(entry), trust.accept)
        assert b'"heads_root":"%s"' % proof["seal"]["root"].encode() in entry
        assert b"consent.HeadsSealed.v1" in entry
    listed = (await house.client.get("/v1/log/heads")).json()["seals"]
    assert [s["as_of_size"] for s in listed] == [done.json()["as_of_size"]]
    late, _ = await consent(house, "After the seal")
    assert (await house.client.get(f"/v1/log/heads/{late}")).status_code == 404
    assert (await house.client.get("/v1/log/heads/nonsense")).status_code == 404


async def test_a_timestamp_is_asked_for_kept_and_served(house: House) -> None:
    done = await house.client.post("/v1/log/timestamps")
    assert done.status_code == 200, done.text
    size = done.json()["size"]
    token = await house.client.get(f"/v1/log/timestamps/{size}")
    assert token.headers["content-type"] == "application/timestamp-reply"
    note = (await text(house, f"checkpoint?size={size}")).encode()
    certificates = house.chancery.settings.tsa_certificates
    assert certificates is not None
    at = verify(token.content, note, Chain.of(Path(certificates).read_bytes()))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 120
    assert (await house.client.get("/v1/log/timestamps")).json()["timestamps"][0]["size"] == size
    assert (await house.client.get("/v1/log/timestamps/1")).status_code == 404


@pytest.mark.invariant("LG9")
async def test_the_next_proof_of_an_event_that_was_altered_is_refused(house: House, database: Database) -> None:
    _, position = await contact(house, "Altered")
    good = await house.client.get("/v1/log/proofs", params={"position": position})
    assert good.status_code == 200
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET session_replication_role = replica")
        c.execute("UPDATE record.events SET public = public || ' ' WHERE position = %s", (position,))
        done = await house.client.get("/v1/log/proofs", params={"position": position})
        assert (done.status_code, done.json()["type"]) == (500, "urn:chancery:problem:record-altered")
        c.execute("UPDATE record.events SET public = substring(public FOR length(public) - 1) WHERE position = %s", (position,))
    assert (await house.client.get("/v1/log/proofs", params={"position": position})).status_code == 200
    assert UUID(str(house.firm))


SWAPPED = (
    "UPDATE record.events e SET {column} = o.{column} FROM record.events o WHERE e.firm_id = %(firm)s AND o.firm_id = %(firm)s"
    " AND e.position = ANY(%(two)s) AND o.position = ANY(%(two)s) AND e.position <> o.position"
)


@pytest.mark.invariant("LG9")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record.events SET public = public || ' ' WHERE position = ANY(%(two)s)",
        "DELETE FROM record.events WHERE firm_id = %(firm)s AND position = ANY(%(two)s)",
        SWAPPED.format(column="public"),
        SWAPPED.format(column="firm_position"),
    ],
    ids=["edited", "deleted", "swapped bytes", "swapped places"],
)
async def test_events_that_a_dba_edits_deletes_or_swaps_are_not_proved_any_more(
    house: House, database: Database, change: str
) -> None:
    two = [(await contact(house, name))[1] for name in ("One", "Another")]
    proofs = [await house.client.get("/v1/log/proofs", params={"position": p}) for p in two]
    places = [TlogProof.parse(p.content).index for p in proofs]
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET session_replication_role = replica")
        c.execute("CREATE TEMP TABLE kept AS SELECT * FROM record.events WHERE position = ANY(%s)", (two,))
        try:
            c.execute(change.encode(), {"firm": house.firm, "two": two})
            for place in places:
                done = await house.client.get(f"/v1/log/proofs/{place}")
                assert (done.status_code, done.json()["type"]) == (500, "urn:chancery:problem:record-altered")
            for position in two:
                assert (await house.client.get("/v1/log/proofs", params={"position": position})).status_code in {404, 500}
        finally:
            c.execute("DELETE FROM record.events WHERE position = ANY(%s)", (two,))
            c.execute("INSERT INTO record.events SELECT * FROM kept")
    assert (await house.client.get("/v1/log/proofs", params={"position": two[0]})).status_code == 200


async def test_a_log_that_is_being_begun_says_that_and_names_no_view(house: House, database: Database) -> None:
    with psycopg.connect(database.admin_conninfo()) as c:
        c.execute("LOCK TABLE chancery.logs IN EXCLUSIVE MODE")  # nobody begins a log while this lasts
        made = await create_firm(house.chancery, "A new firm", Region.EU)
        async with house.chancery.readers.reading(house.firm) as r:
            row = await r.one("SELECT position FROM record.head")
        await house.chancery.feed.wait(("keys", "firms"), row["position"] if row else 0)
        client = house.as_key(made["api_key"])
        for path in ("checkpoint", "vkey", "keys", "tile/0/000.p/1", "heads"):
            told = await client.get(f"/v1/log/{path}")
            if path == "heads":
                assert told.json() == {"seals": []}
                continue
            assert (told.status_code, told.json()["type"]) == (503, "urn:chancery:problem:log-beginning"), path
            assert told.json()["title"] == "The firm's log is being begun"
            assert told.headers["retry-after"] == "1"
    await house.settle()
    assert (await client.get("/v1/log/checkpoint")).status_code == 200


async def test_a_log_that_has_stopped_says_so_and_serves_what_it_signed(house: House, database: Database) -> None:
    other = await house.another_firm()
    position = (await contact(other, "Before"))[1]
    before = await text(other, "checkpoint", position)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("UPDATE chancery.logs SET stopped = 'tried' WHERE firm_id = %s", (other.firm,))
    position = (await contact(other, "After"))[1]
    done = await other.client.get("/v1/log/proofs", params={"position": position})
    assert (done.status_code, done.json()["type"]) == (503, "urn:chancery:problem:log-stopped")
    assert await text(other, "checkpoint") == before
    assert (await text(house, "checkpoint")) != before
