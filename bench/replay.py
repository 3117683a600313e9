"""Replaying the record as decoded events, against reading the same rows by COPY and throwing them away."""

import time

import psycopg

from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from bench.raw import COLUMNS
from commands.deals import NoteOnDeal
from infra.record.bulk import Bulk, command_task
from infra.record.reader import replay

EVENTS = 50_000


def measure(p: Place) -> list[Figure]:
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:
        notes = (command_task(NoteOnDeal(id=p.deals[n % len(p.deals)], note=NOTE), actor=ACTOR) for n in range(EVENTS))
        for _ in bulk.run(notes):
            pass
    first, last = (int(str(v)) for v in p.query(f"SELECT max(position) - {EVENTS}, max(position) FROM record.events")[0])
    with p.database.connect("record") as ours, psycopg.connect(p.conninfo, autocommit=True) as theirs:

        def decoded() -> float:
            started = time.perf_counter()
            count = 0
            note = ""
            for recorded in replay(ours, p.vault, first, last):
                count += 1
                note = recorded.event.note
            took = time.perf_counter() - started
            if count != EVENTS or note != NOTE.strip():
                raise Broken(f"{count} of {EVENTS} events were replayed")
            return count / took

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

        pairs = interleaved(decoded, drained)
    return [figure("replay of the record, decoded and opened", "drained binary COPY TO", pairs, goal=0.5)]
