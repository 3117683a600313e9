"""Imports that are killed, stopped, hindered or fed hostile rows; and how much memory a long one takes."""

import gzip
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from domain.imports import IMPORT
from infra.imports import reports
from infra.imports.keep import RowStore
from infra.imports.reports import Progress, Report
from infra.imports.run import AlreadyRunning, Importer
from tests.infra.imports.importing import OPERATOR, Firm
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


def table(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write("id,first name,last name,email\n")
        for n in range(rows):
            file.write(f"{n},First{n},Last{n},p{n}@example.com\n")
    return path


def process(firm: Firm, file: Path, kind: str = "contacts") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "tests.infra.imports.importing_process", firm.database.admin_conninfo(), str(firm.folder), str(firm.id),
            str(file), kind,
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def taken_up(firm: Firm, file: Path, kind: str) -> Report:
    """Go on with an import that was killed, as soon as PostgreSQL has seen that its process is gone."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return firm.carry(file, kind)
        except AlreadyRunning:
            assert time.monotonic() < until
            time.sleep(0.05)


def contacts(firm: Firm) -> int:
    return firm.one("SELECT count(*) FROM record.events WHERE firm_id = %s AND type = 'contacts.Created.v1'", firm.id)


@pytest.mark.invariant("IMP1")
def test_an_import_killed_in_the_middle_goes_on_where_it_was_and_carries_each_row_once(firm: Firm, tmp_path: Path) -> None:
    for many in (12_000, 50_000, 200_000):  # more where it came to the end before it could be killed
        other = firm.another()
        file = table(tmp_path / f"{many}.csv", many)
        running = process(other, file)
        until = time.monotonic() + PATIENCE
        while contacts(other) < 3_000:
            assert running.poll() in {None, 0}, running.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.02)
        running.kill()
        running.communicate()
        if contacts(other) < many:
            break
    assert contacts(other) < many
    report = taken_up(other, file, "contacts")
    assert report.resumed
    assert (report.status, report.rows, report.created, report.rejected) == ("finished", many, many, 0)
    assert contacts(other) == many
    assert other.one("SELECT count(*) FROM chancery.import_rows WHERE firm_id = %s", other.id) == many
    assert other.types(report.import_id)["imports.Resumed.v1"] == 1
    assert other.carry(file, "contacts").unchanged == many


def test_an_import_that_is_stopped_can_be_gone_on_with_and_another_process_is_kept_out(
    firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "EACH", 0.0)
    other = firm.another()
    file = table(tmp_path / "stopped.csv", 6_000)
    stop = threading.Event()
    kept_out: list[type] = []

    def tell(far: Progress) -> None:
        if far.rows and not stop.is_set():
            try:
                other.carry(file, "contacts")
            except AlreadyRunning as e:
                kept_out.append(type(e))
            stop.set()

    report = other.carry(file, "contacts", progress=tell, stop=stop)
    assert report.status == "stopped"
    assert kept_out == [AlreadyRunning]
    assert 0 < report.created < 6_000
    assert other.state(IMPORT, report.import_id).status == "running"
    rest = other.carry(file, "contacts")
    assert (rest.import_id, rest.resumed, rest.created, rest.status) == (report.import_id, True, 6_000, "finished")


def test_an_interrupted_import_can_be_undone(firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "EACH", 0.0)
    other = firm.another()
    file = table(tmp_path / "half.csv", 5_000)
    stop = threading.Event()
    report = other.carry(file, "contacts", progress=lambda far: stop.set() if far.rows else None, stop=stop)
    assert report.status == "stopped"
    done = other.undo(report.import_id)
    assert done.taken_back["contact"] == report.created
    again = other.carry(file, "contacts")
    assert (again.rows, again.changed + again.created, again.resumed) == (5_000, 5_000, False)


def test_a_row_somebody_else_changes_meanwhile_is_decided_again(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    file = tmp_path / "deals.csv"
    file.write_text("deal id,title,stage,company\n" + "".join(f"{n},Deal {n},New,Acme\n" for n in range(3_000)))
    reports: list[Report] = []

    def carry(path: Path) -> None:
        with Importer(other.database, other.vault, other.blobs, firm=other.id, actor=OPERATOR) as importer:
            reports.append(importer.carry(path, "deals"))

    rival = tmp_path / "rival.csv"
    rival.write_text(file.read_text())
    threads = [threading.Thread(target=carry, args=(p,)) for p in (file, rival)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(600)
    assert [(r.created, r.rejected, r.status) for r in reports] == [(3_000, 0, "finished")] * 2
    assert other.one("SELECT count(*) FROM record.events WHERE firm_id = %s AND type = 'organisations.Created.v1'", other.id) == 1
    assert other.one("SELECT count(*) FROM record.events WHERE firm_id = %s AND type = 'pipelines.Defined.v1'", other.id) == 1


HOSTILE = [
    "=cmd|' /C calc'!A0",
    "' OR 1=1; --",
    "\u202egnp.exe",
    "\x00\x07 bell",
    "𝕬𝖓𝖓 🙂",
    "{{7*7}}${7*7}<script>",
    "x" * 90_000,
    '"origin":"import/00000000-0000-0000-0000-000000000000"',
    "../../etc/passwd",
]


def test_hostile_values_are_carried_or_reported_and_stop_nothing(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    file = tmp_path / "hostile.csv"
    rows = "".join(
        f'{n},"{v.replace(chr(34), chr(34) * 2)}",Lee,"{v[:300].replace(chr(34), chr(34) * 2)}"\n' for n, v in enumerate(HOSTILE)
    )
    file.write_text("id,first name,last name,company\n" + rows + "99,Good,Lee,Acme\n", encoding="utf-8")
    report = other.carry(file, "contacts")
    assert (report.status, report.rows) == ("finished", len(HOSTILE) + 1)
    assert report.created >= len(HOSTILE) - 1
    other.see("contacts", "organisations", "relations")
    assert other.one("SELECT count(*) FROM views.contacts WHERE firm_id = %s AND given = 'Good'", other.id) == 1
    assert other.carry(file, "contacts").created == 0
    assert other.undo(report.import_id).taken_back["contact"] == report.created


def test_a_file_that_breaks_off_keeps_what_was_carried_and_says_why(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    whole = gzip.compress(table(tmp_path / "t.csv", 20_000).read_bytes())
    file = tmp_path / "cut.csv.gz"
    file.write_bytes(whole[: len(whole) // 2])
    report = other.carry(file, "contacts")
    assert report.status == "failed"
    assert "cut off" in (report.reason or "")
    assert 0 < report.created == contacts(other) < 20_000
    file.write_bytes(whole)
    fetched = other.carry(file, "contacts")
    assert (fetched.rows, fetched.created + fetched.unchanged) == (20_000, 20_000)
    assert contacts(other) == 20_000


def test_times_in_the_future_are_refused_for_their_row_alone(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    file = tmp_path / "log.csv"
    file.write_text("case,activity,timestamp\n1,A,2024-01-01 10:00:00Z\n2,A,2199-01-01 10:00:00Z\n1,B,2024-01-02 10:00:00Z\n")
    report = other.carry(file, "deals", log=True)
    assert (report.created, report.rejected) == (1, 1)
    assert any("future" in what for what in report.reasons)


def test_erasing_a_person_makes_the_kept_row_unreadable(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    report = other.carry(table(tmp_path / "two.csv", 2), "contacts")
    kept = other.all(
        "SELECT number, stream_id, key_id, sealed FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s ORDER BY 1",
        other.id,
        report.import_id,
    )
    with other.database.connect("record") as c:
        c.execute("DELETE FROM vault.data_keys WHERE firm_id = %s AND subject_id = %s", (other.id, kept[0][1]))
        store = RowStore(c, other.vault, other.id)
        opened = [store.opened(report.import_id, n, key, sealed) for n, _, key, sealed in kept]
    assert opened[0] is None
    assert opened[1] is not None
    assert opened[1]["source"]["first name"] == "First1"
    leaked = other.one(
        "SELECT count(*) FROM chancery.import_rows WHERE firm_id = %s AND (position('First'::bytea IN sealed) > 0 OR issues::text LIKE '%%First%%')",
        other.id,
    )
    assert leaked == 0


def test_memory_does_not_grow_with_the_file(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    file = tmp_path / "huge.csv"
    with file.open("w") as rows:
        rows.write("key,summary\n")
        rows.writelines(f"T-{n},Task number {n}\n" for n in range(200_000))
    running = process(other, file, "tasks")
    out, problems = running.communicate(timeout=1_500)
    assert running.returncode == 0, problems
    told = json.loads(out)
    assert (told["created"], told["rejected"]) == (200_000, 0)
    sizes = told["sizes"]
    early = max(size for rows, size in sizes if rows <= 80_000)
    late = max(size for rows, size in sizes if rows > 80_000)
    assert late < early * 1.15, (early, late)
