"""Replaying the record as decoded events, against reading the same rows by COPY and throwing them away."""

import os
import time
from collections.abc import Iterator

import psycopg

from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from bench.raw import COLUMNS
from commands.deals import NoteOnDeal
from infra.record.bulk import Bulk, command_task
from infra.record.reader import replay
from infra.record.replay import Replay
from projections.kernel import Recorded

EVENTS = 100_000
TYPE_NAMES = [
    "int8",
    "uuid",
    "int8",
    "text",
    "uuid",
    "int8",
    "uuid",
    "text",
    "timestamptz",
    "timestamptz",
    "uuid",
    "bytea",
    "bytea",
]


def seen(events: Iterator[Recorded]) -> tuple[int, str]:
    """How many events, and what the last one says."""
    count = 0
    note = ""
    for recorded in events:
        count += 1
        note = recorded.event.note
    return count, note


def measure(p: Place) -> list[Figure]:
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:
        notes = (command_task(NoteOnDeal(id=p.deals[n % len(p.deals)], note=NOTE), actor=ACTOR) for n in range(EVENTS))
        for _ in bulk.run(notes):
            pass
    first, last = (int(str(v)) for v in p.query(f"SELECT max(position) - {EVENTS}, max(position) FROM record.events")[0])
    with (
        p.database.connect("record") as ours,
        psycopg.connect(p.conninfo, autocommit=True) as theirs,
        Replay(p.database, p.vault) as together,
    ):

        def checked(parts: Iterator[tuple[int, str]]) -> float:
            started = time.perf_counter()
            said = list(parts)
            took = time.perf_counter() - started
            if sum(n for n, _ in said) != EVENTS or {note for _, note in said} != {NOTE.strip()}:
                raise Broken(f"{sum(n for n, _ in said)} of {EVENTS} events were replayed")
            return EVENTS / took

        def decoded() -> float:
            return checked(seen(replay(ours, p.vault, first, at)) for at in [last])

        def beside() -> float:
            return checked(together.run("bench.replay:seen", after=first, until=last))

        copy_out = (
            f"COPY (SELECT position, {COLUMNS} FROM record.events WHERE position > {first} AND position <= {last} ORDER BY position)"
            " TO STDOUT (FORMAT binary)"
        ).encode()

        def drained() -> float:
            started = time.perf_counter()
            with theirs.cursor().copy(copy_out) as copy:
                for _ in copy:
                    pass
            return EVENTS / (time.perf_counter() - started)

        def read() -> float:
            started = time.perf_counter()
            with theirs.cursor().copy(copy_out) as copy:
                copy.set_types(TYPE_NAMES)
                for _ in copy.rows():
                    pass
            return EVENTS / (time.perf_counter() - started)

        pairs = interleaved(beside, drained)
        single = interleaved(decoded, drained)
        rows = interleaved(decoded, read)
    name = "replay of the record, decoded and opened"
    return [
        figure(f"{name}, {(os.cpu_count() or 1) + 1} processes", "binary COPY TO, drained by psycopg", pairs, goal=0.5),
        figure(f"{name}, one process", "binary COPY TO, drained by psycopg", single, goal=None),
        figure(f"{name}, one process", "binary COPY TO, each row read as values by psycopg", rows, goal=None),
    ]
