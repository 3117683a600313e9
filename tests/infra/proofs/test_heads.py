"""Seals of heads against PostgreSQL: one line for each chain, sorted, and each proved."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest

from infra.blobs import FolderBlobs
from infra.database import Database
from infra.followers import Parts
from infra.proofs import daily, heads
from infra.proofs.daily import Daily
from infra.proofs.encoding import b64
from infra.proofs.errors import NotProved
from infra.proofs.store import LogStore, RecordAltered
from infra.proofs.tree import leaf_hash, verify_inclusion
from infra.record.appender import Appended, Appender
from infra.record.vault import Vault
from infra.settings import Settings
from tests.infra.proofs import tsa
from tests.infra.proofs.logs import Frontier
from tests.infra.proofs.sequencing import Bench
from tests.infra.writing import an_append, together


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database, tmp_path / "keys")
    yield made
    made.sweep()


def chains(bench: Bench, counts: dict[UUID, int], *, before: int = 0, wrong: int = 0) -> None:
    """Events of chains of consent, each with its seq."""
    appender = Appender(bench.database)
    batch = []
    for stream, count in counts.items():
        a = an_append(count, firm=bench.firm, stream=stream, at=before)
        a.expected = {("consent", stream): before}
        leaves = [
            {"data": {"seq": m.stream_version + wrong}, "id": str(m.event_id), "subject": f"consent/{stream}"} for m in a.events
        ]
        a.events = [m._replace(public=orjson.dumps(leaf), stream_type="consent") for m, leaf in zip(a.events, leaves, strict=True)]
        a.__post_init__()
        batch.append(a)
    assert all(isinstance(r, Appended) for r in together(appender, batch))
    appender.close()
    bench.catch_up()


def head_line(person: UUID, seq: int, leaf: bytes) -> str:
    return f"consent/{person} {seq} {b64(leaf_hash(leaf))}\n"


def parts(bench: Bench, **more: object) -> Parts:
    settings = Settings(data=bench.folder, keys=bench.folder, **more)  # type: ignore[arg-type]
    return Parts(settings, bench.database, Vault(bench.folder), FolderBlobs(bench.folder / "blobs"))


def expected(bench: Bench, size: int) -> list[str]:
    """The lines as their definition says, from all leaves."""
    last: dict[str, tuple[int, bytes]] = {}
    with bench.database.connect("record") as c:
        for leaf in LogStore(c, bench.firm).entries(0, size):
            said = orjson.loads(leaf)
            if said.get("subject", "").startswith("consent/"):
                last[said["subject"]] = (said["data"]["seq"], leaf_hash(leaf))
    return sorted(f"{tag} {seq} {b64(hash)}\n" for tag, (seq, hash) in last.items())


@pytest.mark.invariant("LG14")
def test_a_seal_has_the_last_event_of_every_chain(bench: Bench) -> None:
    people = {uuid4(): n % 3 + 1 for n in range(600)}
    chains(bench, people)
    bench.write(10)
    bench.catch_up()
    made = daily.seal(parts(bench), bench.firm)
    bench.catch_up()
    lines = expected(bench, made.as_of_size)
    frontier = Frontier()
    frontier.extend([line.encode() for line in lines])
    assert (made.count, made.root) == (600, frontier.root())
    with bench.database.connect("record") as c:
        for index in (0, 1, 255, 256, 400, 599):
            tag = heads.tag_of(lines[index])
            proof = heads.prove(c, bench.firm, tag)
            assert (proof.index, proof.head) == (index, lines[index])
            verify_inclusion(index, 600, leaf_hash(proof.head.encode()), proof.inclusion, made.root)
            said = orjson.loads(LogStore(c, bench.firm).leaves([proof.seal.event or 0])[proof.seal.event or 0])
            assert said["type"] == "consent.HeadsSealed.v1"
            assert said["data"] == {"as_of_size": made.as_of_size, "heads_count": 600, "heads_root": b64(made.root)}
        for nobody in (f"consent/{uuid4()}", "consent/", "", "zzz"):
            with pytest.raises(heads.NoHead):
                heads.prove(c, bench.firm, nobody)


@pytest.mark.invariant("LG14")
def test_a_chain_without_its_last_event_does_not_fit_the_seal(bench: Bench) -> None:
    person = uuid4()
    chains(bench, {person: 2, uuid4(): 1})
    daily.seal(parts(bench), bench.firm)
    bench.catch_up()
    with bench.database.connect("record") as c:
        proof = heads.prove(c, bench.firm, f"consent/{person}")
        first, last = LogStore(c, bench.firm).entries(0, 2)
    assert proof.head == head_line(person, 2, last)
    shortened = head_line(person, 1, first)
    with pytest.raises(NotProved):
        verify_inclusion(proof.index, 2, leaf_hash(shortened.encode()), proof.inclusion, proof.seal.root)


def test_a_later_seal_sees_later_events_and_old_contents_go(bench: Bench) -> None:
    person = uuid4()
    chains(bench, {person: 1})
    for n in range(1, 6):
        daily.seal(parts(bench), bench.firm)
        bench.catch_up()
        with bench.database.connect("record") as c:
            assert heads.prove(c, bench.firm, f"consent/{person}").head.split(" ")[1] == str(n)
        chains(bench, {person: 1}, before=n)
    with bench.database.connect("record") as c:
        kept = c.execute("SELECT count(DISTINCT as_of_size) FROM chancery.log_heads").fetchone()
        assert kept == (heads.KEPT,)


def test_a_chain_whose_seq_is_not_its_place_is_not_sealed(bench: Bench) -> None:
    chains(bench, {uuid4(): 1}, wrong=1)
    with pytest.raises(RecordAltered):
        daily.seal(parts(bench), bench.firm)


def test_lines_that_were_altered_are_found_when_they_are_proved(bench: Bench) -> None:
    person = uuid4()
    chains(bench, {person: 1, uuid4(): 1})
    daily.seal(parts(bench), bench.firm)
    bench.catch_up()
    bench.run("UPDATE chancery.log_heads SET lines = replace(lines, ' 1 ', ' 2 ')")
    with bench.database.connect("record") as c, pytest.raises(RecordAltered):
        heads.prove(c, bench.firm, f"consent/{person}")


def test_what_is_due_once_a_day_is_done_once_a_day(bench: Bench, tmp_path: Path) -> None:
    chains(bench, {uuid4(): 1})
    folder = tmp_path / "tsa"
    folder.mkdir()
    with tsa.running(folder) as url:
        daily_work = Daily(parts(bench, tsa_url=url, tsa_certificates=folder / "ca.pem"))
        now = datetime.now(UTC)

        def done() -> tuple[int, int]:
            with bench.database.connect("record") as c:
                seals = c.execute("SELECT count(*) FROM chancery.log_seals").fetchone()
                stamps = c.execute("SELECT count(*) FROM chancery.log_timestamps").fetchone()
            return (seals or (0,))[0], (stamps or (0,))[0]

        daily_work.once(now)
        bench.catch_up()
        assert done() == (1, 1)
        daily_work.once(now + timedelta(hours=20))
        assert done() == (1, 1)
        daily_work.once(now + timedelta(hours=25))
        bench.catch_up()
        assert done() == (1, 2), "nothing but the seal itself was added: there is nothing more to seal"
        bench.write(1)
        bench.catch_up()
        daily_work.once(now + timedelta(hours=25))
        assert done() == (2, 3)
