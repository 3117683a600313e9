"""Imports of consents that are killed, run twice, run by a verb, or large: each act once, no lost, no no overwritten, in bounded memory."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from commands.firms import CreateFirm
from commands.purposes import DefinePurpose
from domain.firms import Region
from infra.cli.main import app
from tests.infra.imports.importing import Firm
from tests.infra.imports.test_run_faults import process, taken_up
from tests.processes import PATIENCE

DPV = "https://w3id.org/dpv#DirectMarketing"
PURPOSES = [f"purpose-{n}" for n in range(5)]
CHANNELS = ("email", "sms", "phone", "post")
SHA = hashlib.sha256(b"a signed form").hexdigest()
HEADER = "id,contact_id,purpose,channel,status,at,evidence,evidence_media_type,ip_address\n"
REFUSING = 7  # every so manieth person refuses everything


def people(firm: Firm, folder: Path, count: int) -> Firm:
    """A firm of its own with so many contacts, found by their ids in a file called crm, and with purposes."""
    other = firm.another()
    other.do(CreateFirm(name="Another firm", region=Region.EU))
    for key in PURPOSES:
        other.do(DefinePurpose(key=key, name=key, dpv=DPV))
    file = folder / "crm.csv"
    file.write_text("id,first name,email\n" + "".join(f"{n},P{n},p{n}@example.com\n" for n in range(count)))
    assert other.carry(file, "contacts", source="crm").created == count
    other.see("contacts")
    return other


def acts(persons: int, rows: int) -> Iterator[str]:
    """Rows of acts, no two about the same: persons in turn, over all purposes and channels."""
    for n in range(rows):
        person, kind = n % persons, n // persons
        purpose, channel = PURPOSES[kind % 5], CHANNELS[kind // 5]
        said = "no" if person % REFUSING == 0 else "yes"
        yield f"a{n},{person},{purpose},{channel},{said},2023-05-01T09:30:00Z,{SHA},application/pdf,203.0.113.7\n"


def over_a_no(persons: int) -> Iterator[str]:
    """Rows that would overwrite what refusing persons said."""
    for person in range(0, persons, REFUSING):
        yield f"b{person},{person},{PURPOSES[0]},email,yes,2023-06-01T00:00:00Z,,,\n"


def counted(firm: Firm) -> dict[str, int]:
    return dict(
        firm.all(
            "SELECT type, count(*) FROM record.events WHERE firm_id = %s AND stream_type = 'consent' GROUP BY type",
            firm.id,
        )
    )


def gapless(firm: Firm) -> bool:
    """Whether every chain of consent counts its links without a gap or a double."""
    sql = (
        "SELECT count(*) FROM (SELECT stream_id, count(*) n, max((convert_from(public, 'UTF8')::jsonb -> 'data' ->> 'seq')::int) top,"
        " count(DISTINCT convert_from(public, 'UTF8')::jsonb -> 'data' ->> 'seq') d FROM record.events WHERE firm_id = %s"
        " AND stream_type = 'consent' GROUP BY stream_id) c WHERE n <> top OR n <> d"
    )
    return int(firm.one(sql, firm.id)) == 0


@pytest.mark.invariant("IMP1")
@pytest.mark.invariant("IC1")
@pytest.mark.invariant("IC3")
def test_an_import_of_consents_killed_in_the_middle_records_each_act_once_and_overwrites_no_refusal(
    firm: Firm, tmp_path: Path
) -> None:
    for persons in (500, 5_000):  # more where it came to the end before it could be killed
        rows = persons * 16
        folder = tmp_path / f"of {persons}"
        folder.mkdir()
        other = people(firm, folder, persons)
        file = folder / "consents" / "crm.csv"
        file.parent.mkdir()
        file.write_text(HEADER + "".join(acts(persons, rows)) + "".join(over_a_no(persons)))
        running = process(other, file, "consents")
        until = time.monotonic() + PATIENCE
        while sum(counted(other).values()) < 1_500:
            assert running.poll() in {None, 0}, running.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.01)
        running.kill()
        running.communicate()
        cut = sum(counted(other).values())
        if cut < rows:
            break
    assert 1_500 <= cut < rows
    refusing = len(range(0, persons, REFUSING))
    report = taken_up(other, file, "consents")
    assert report.resumed
    assert (report.status, report.rows, report.created, report.rejected) == ("finished", rows + refusing, rows, refusing), (
        report.reasons
    )
    refused = refusing * (rows // persons)
    assert counted(other) == {"consent.Given.v1": rows - refused, "consent.Refused.v1": refused}
    assert gapless(other)
    assert (
        other.one("SELECT count(*) FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s", other.id, report.import_id)
        == rows + refusing
    )
    again = other.carry(file, "consents")
    assert (again.created, again.unchanged) == (0, rows), again.reasons
    assert sum(counted(other).values()) == rows
    with_evidence = other.one(
        "SELECT count(*) FROM record.events WHERE firm_id = %s AND stream_type = 'consent'"
        " AND convert_from(public, 'UTF8')::jsonb -> 'data' -> 'evidence' -> 0 ->> 'sha256' = %s"
        " AND convert_from(public, 'UTF8')::jsonb -> 'data' ->> 'import_batch' = %s AND occurred_at = '2023-05-01T09:30:00Z'",
        other.id,
        SHA,
        f"import/{report.import_id}",
    )
    assert with_evidence == rows, "every act has its own time, its evidence and its import"


def test_of_a_hundred_thousand_rows_no_more_stays_in_memory_than_of_the_last_minute(firm: Firm, tmp_path: Path) -> None:
    persons, rows = 2_500, 100_000  # half of them say again, under other ids, what others said
    other = people(firm, tmp_path, persons)
    folder = tmp_path / "consents"
    folder.mkdir()
    file = folder / "crm.csv"
    with file.open("w") as out:
        out.write(HEADER)
        out.writelines(acts(persons, rows // 2))
        out.writelines(f"again-{row}" for row in acts(persons, rows // 2))
    running = process(other, file, "consents")
    out_, problems = running.communicate(timeout=1_500)
    assert running.returncode == 0, problems
    told: dict[str, Any] = json.loads(out_)
    assert (told["created"], told["rejected"]) == (rows // 2, 0)
    early = max(size for n, size in told["sizes"] if n <= rows * 0.4)
    late = max(size for n, size in told["sizes"] if n > rows * 0.4)
    # keys and chains stay in memory for a minute, and chains grow by their acts; rows that stayed would be half as much again
    assert late < early * 1.25, (early >> 20, late >> 20)


def test_the_verb_looks_carries_shows_and_takes_back(firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = people(firm, tmp_path, 21)
    monkeypatch.setenv("CHANCERY_DATABASE_URL", other.database.admin_conninfo())
    monkeypatch.setenv("CHANCERY_DATA", str(other.folder))
    monkeypatch.setenv("CHANCERY_LOG_LEVEL", "error")

    def call(*words: object) -> Any:
        done = CliRunner().invoke(app, ["import", *map(str, words), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    file = tmp_path / "export.csv"
    file.write_text(HEADER + "".join(acts(21, 42)) + "".join(over_a_no(21)) + "z,999,purpose-0,email,yes,2023-05-01,,,\n")
    about = ("--firm", other.id, "--source", "crm")
    plan = call("consents", file, *about, "--dry-run")
    assert (plan["rows"], plan["form"]) == (46, "table")
    assert counted(other) == {}
    done = call("consents", file, *about)
    assert (done["status"], done["created"], done["rejected"]) == ("finished", 42, 4)
    shown = call("show", done["import_id"], "--firm", other.id, "--outcome", "rejected")
    said = json.dumps(shown["rows_shown"])
    assert "No contact has this id" in said
    assert "never overwrites" in said
    assert call("consents", file, *about)["created"] == 0
    undone = call("undo", done["import_id"], "--firm", other.id)
    assert undone["put_back"]["consent"] == 18, "of so many people"
    assert counted(other) == {"consent.Given.v1": 36, "consent.Refused.v1": 6, "consent.Invalidated.v1": 36}
