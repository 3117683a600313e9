"""Views as of any business time and any known position, against a plain model that folds lists."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from domain.kernel import FirmId
from infra.database import Database
from infra.projector.tables import Table
from infra.reading import Moment
from infra.record import wire
from projections.kernel import Recorded, View
from queries.kernel import Collection
from queries.listing import compile_list
from tests.folding import fold_batch

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRM = FirmId(uuid4())
IDS = [UUID(int=n) for n in (1, 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    word: str  # "-" takes the row away


def fold(row: Row | None, _key: UUID, r: Recorded) -> Row | None:
    if r.event.word == "-":
        return None
    return Row(said=(r.event.word,)) if row is None else replace(row, said=(*row.said, r.event.word))


VIEW = View(name="sayings", version=1, table="views.sayings", row=Row, keys=lambda r: (r.stream_id,), fold=fold)


def recorded(position: int, id: UUID, day: int, word: str) -> Recorded:
    return Recorded(
        position=position,
        firm=FIRM,
        firm_position=position - 1,
        stream_type="saying",
        stream_id=id,
        version=position,
        event_id=uuid4(),
        name="sayings.Said.v1",
        event=Said(word=word),
        occurred_at=START + timedelta(days=day),
        recorded_at=START,
        actor="system/test",
        origin=None,
        command_id="",
    )


def model(events: Iterable[Recorded], as_of: datetime, known_at: int) -> dict[UUID, Row]:
    rows: dict[UUID, Row] = {}
    for r in events:
        if r.occurred_at > as_of or r.position > known_at:
            continue
        after = fold(rows.get(r.stream_id), r.stream_id, r)
        if after is None:
            rows.pop(r.stream_id, None)
        else:
            rows[r.stream_id] = after
    return rows


@pytest.fixture(scope="module")
def made(database: Database) -> Database:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET ROLE chancery_owner")
        c.execute(
            "CREATE TABLE views.sayings (firm_id uuid NOT NULL, id uuid NOT NULL, version bigint NOT NULL, created_at timestamptz NOT NULL,"
            " updated_at timestamptz NOT NULL, position bigint NOT NULL, said text[] NOT NULL, PRIMARY KEY (firm_id, id))"
        )
        c.execute("CALL chancery.own_view('views.sayings')")
    return database


def shown(c: psycopg.Connection[tuple[object, ...]], as_of: datetime | None, known_at: int | None) -> dict[UUID, Row]:
    with c.transaction():
        c.execute("SELECT set_config('chancery.as_of', %s, true), set_config('chancery.known_at', %s, true)", (
            as_of.isoformat() if as_of else "", str(known_at) if known_at is not None else "",
        ))  # fmt: skip
        rows = c.execute("SELECT id, said FROM at.sayings WHERE firm_id = %s", (FIRM,)).fetchall()
    assert len(rows) == len({id for id, _ in rows}), "a row is shown twice"
    return {id: Row(said=tuple(said)) for id, said in rows}  # type: ignore[misc, arg-type]


SAYINGS = Collection(name="sayings", view=VIEW, stream=None, permission="deals:read", title="Sayings", order="-created_at")


def listed(c: psycopg.Connection[dict[str, object]], moment: Moment, *, order: str, size: int) -> list[UUID]:
    """The ids of the whole list at a moment, page by page."""
    found: list[UUID] = []
    token = ""
    with c.transaction(), c.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT set_config('chancery.as_of', %s, true), set_config('chancery.known_at', %s, true)", (
            moment.as_of.isoformat() if moment.as_of else "", "" if moment.known_at is None else str(moment.known_at),
        ))  # fmt: skip
        while True:
            listing = compile_list(
                SAYINGS, firm=FIRM, permissions=frozenset(), now=START, key=b"0" * 32, order_by=order, page_size=size,
                page_token=token, include_total=True, moment=moment,
            )  # fmt: skip
            page = listing.page(cursor.execute(listing.sql, {"firm": FIRM, **listing.params}).fetchall())
            found += [item["id"] for item in page.items]
            token = page.next_page_token
            if not token:
                return found


histories = st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 6), st.sampled_from("abc-")), max_size=9)


@given(history=histories, batches=st.lists(st.integers(1, 4), min_size=1, max_size=9))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_view_as_of_any_time_and_position_is_the_fold_of_what_was_true_and_known(
    made: Database, history: list[tuple[UUID, int, str]], batches: list[int]
) -> None:
    events = [recorded(n, id, day, word) for n, (id, day, word) in enumerate(history, 1)]
    with made.connect("record") as c:
        wire.register(c)
        table = Table(VIEW)
        c.execute(table.truncate)
        rest = list(events)
        for size in (batch for _ in range(10) for batch in batches):
            if rest:
                fold_batch(VIEW, table, c, rest[:size])
                rest = rest[size:]
        if rest:
            fold_batch(VIEW, table, c, rest)
        for day in range(-1, 8):
            for known_at in range(len(events) + 1):
                moment = START + timedelta(days=day)
                assert shown(c, moment, known_at) == model(events, moment, known_at), (day, known_at)
        current = c.execute("SELECT id, said FROM views.sayings WHERE firm_id = %s", (FIRM,)).fetchall()
        latest = model(events, START + timedelta(days=99), 99)
        assert {id: Row(said=tuple(said)) for id, said in current} == latest
        assert shown(c, None, None) == latest


@given(history=histories, late=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_list_of_any_moment_has_the_rows_of_that_moment_each_once_in_order(
    made: Database, history: list[tuple[UUID, int, str]], late: bool
) -> None:
    events = [recorded(n, id, day, word) for n, (id, day, word) in enumerate(history, 1)]
    with made.connect("record") as c:
        wire.register(c)
        table = Table(VIEW)
        c.execute(table.truncate)
        for event in events:
            fold_batch(VIEW, table, c, [event])
        for day in (None, *range(-1, 8)):
            for known_at in (None, *range(len(events) + 1)):
                moment = Moment(None if day is None else START + timedelta(days=day), known_at)
                if not moment:
                    continue
                there = shown(c, moment.as_of, known_at)
                assert listed(c, moment, order="id", size=1) == sorted(there), moment
                assert sorted(listed(c, moment, order="-created_at" if late else "updated_at", size=3)) == sorted(there), moment


def test_a_row_is_never_older_than_its_creation(made: Database) -> None:
    days = [(1, 3), (1, 5), (1, 1), (2, 4), (2, 0)]
    with made.connect("record") as c:
        wire.register(c)
        table = Table(VIEW)
        c.execute(table.truncate)
        for n, (id, day) in enumerate(days, 1):
            fold_batch(VIEW, table, c, [recorded(n, UUID(int=id), day, "-" if n == 2 else "a")])
        for where in ("views", "history"):
            assert c.execute(f"SELECT count(*) FROM {where}.sayings WHERE created_at > updated_at").fetchone() == (0,)


def test_a_late_event_changes_what_was_true_and_not_what_was_known(made: Database) -> None:
    id = IDS[0]
    events = [recorded(1, id, 0, "a"), recorded(2, id, 5, "c"), recorded(3, id, 3, "b")]
    with made.connect("record") as c:
        wire.register(c)
        table = Table(VIEW)
        c.execute(table.truncate)
        for event in events:
            fold_batch(VIEW, table, c, [event])
        on_the_fourth = START + timedelta(days=4)
        assert shown(c, on_the_fourth, None) == {id: Row(said=("a", "b"))}
        assert shown(c, on_the_fourth, 2) == {id: Row(said=("a",))}
        assert shown(c, None, None) == {id: Row(said=("a", "c", "b"))}
        assert shown(c, None, 2) == {id: Row(said=("a", "c"))}
