"""The append transaction: ask under the lock what is so, decide for each command, write what is accepted.

R1 to R3 of the package are kept here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from commands.kernel import Made
from infra.record import wire
from infra.record.appender.command import Append, Appended, CommandIdReused, Conflict
from infra.record.appender.statements import (
    APPEND,
    APPEND_ONE,
    BEGIN,
    COMMANDS,
    COMMIT,
    COPY_EVENTS,
    COPY_FROM,
    EXTEND,
    FIRM_HEADS,
    HEAD,
    INSERT_COMMANDS,
    INSERT_EVENTS,
    LOCK,
    PARTITION_AHEAD,
    PARTITION_SIZE,
    ROLLBACK,
    add_heads,
    add_keys,
    ask_versions,
    packed_keys,
    packed_streams,
    read_commands,
    read_firms,
    read_versions,
)
from infra.record.vault import NewKey

Result = TypeVar("Result")


def flush(c: psycopg.Connection[Any], batch: Sequence[Append], *, again: bool = False) -> list[Appended | BaseException]:
    """Append a batch in one transaction on a connection of role `record`; one result per command, in order.

    `again` says that an earlier attempt at this batch may have been committed: an answer found then that equals the command's own
    (event ids are in it) is its first answer, not a repeated one.
    """
    return wire.drive(flushing(wire.pipe(c), batch, again=again), c.pgconn.socket)


def flushing(pipe: wire.Pipe, batch: Sequence[Append], *, again: bool) -> wire.Talk[list[Appended | BaseException]]:
    """`flush` as a conversation: in one round trip where everything is as its commands believe, else in two or three."""
    if not again and len(batch) == 1 and _is_plain(batch[0]):
        position = yield from _alone(pipe, batch[0])
        if position is not None:
            return [Appended(position, batch[0].answer, False)]
    elif not again and sum([len(a.events) for a in batch]) < COPY_FROM:
        believed = {key: version for a in reversed(batch) for key, version, _ in a.reads}  # as its first reader among them read it
        results, accepted = _decide(batch, 0, dict(believed), {}, again=False)
        if len(accepted) == len(batch):
            start = yield from _in_a_transaction(pipe, _at_once(pipe, batch, believed))
            if start is not None:
                return [Appended(start + r.position, r.answer, False) for r in results if isinstance(r, Appended)]
    return (yield from _in_a_transaction(pipe, _step_by_step(pipe, batch, again=again)))


def _is_plain(a: Append) -> bool:
    """Whether a command is one event on the one stream it read, under a key that is there already."""
    return len(a.events) == 1 and len(a.reads) == 1 and not a.keys and a.events[0].stream_version == a.reads[0][1] + 1


def _alone(pipe: wire.Pipe, a: Append) -> wire.Talk[int | None]:
    """The position of a plain command's event, in a transaction of its own; None when something is not as believed, and nothing was written."""
    ((key, version, _),) = a.reads
    (e,) = a.events
    (sealed,) = a.sealed
    recorded = wire.int8(wire.micros(a.recorded_at))
    result = yield from pipe.asking(
        APPEND_ONE,
        a.firm_bytes,
        key[16:32],
        key[32:],
        wire.int8(version),
        a.command_bytes,
        a.body_mac,
        a.answer,
        e.event_id.bytes,
        recorded,
        recorded if e.occurred_at is a.recorded_at else wire.int8(wire.micros(e.occurred_at)),
        e.type.encode(),
        e.public,
        sealed,
    )
    position = result.get_value(0, 0)
    return None if position is None else wire.read_int8(position)


def _in_a_transaction(pipe: wire.Pipe, talk: wire.Talk[Result]) -> wire.Talk[Result]:
    try:
        return (yield from talk)
    except psycopg.Error:
        if pipe.pg.transaction_status == TransactionStatus.INERROR:
            pipe.add(ROLLBACK)
            yield from pipe.sending()
        raise


def _at_once(pipe: wire.Pipe, batch: Sequence[Append], believed: Mapping[bytes, int]) -> wire.Talk[int | None]:
    """The position before a batch that was appended whole; None when something is not as believed, and nothing was written."""
    rows = _Rows(batch)
    reads = list(believed)
    firms = list(rows.firms)
    place = {firm: n for n, firm in enumerate(firms, 1)}
    pipe.add(BEGIN)
    pipe.add(LOCK)
    pipe.add(
        APPEND,
        wire.uuids(firms),
        wire.int8s(list(rows.firms.values())),
        *packed_streams(reads),
        wire.int8s(list(believed.values())),
        *rows.of_commands(0),
        wire.int8s([place[firm] for firm in rows.firm_of]),
        wire.int8s(rows.in_firm),
        *rows.of_events(),
        *packed_streams(list(rows.touched)),
        wire.int8s(list(rows.touched.values())),
        *packed_keys(rows.keys),
    )
    pipe.add(COMMIT)
    _, _, appended, _ = yield from pipe.sending()
    start = appended.get_value(0, 0)
    return None if start is None else wire.read_int8(start)


def _step_by_step(pipe: wire.Pipe, batch: Sequence[Append], *, again: bool) -> wire.Talk[list[Appended | BaseException]]:
    """Ask what is so, decide for each command, write what is accepted."""
    pipe.add(BEGIN)
    pipe.add(LOCK)
    pipe.add(HEAD)
    pipe.add(FIRM_HEADS, wire.uuids(list({a.firm_bytes: None for a in batch})))
    ask_versions(pipe, list({key: None for a in batch for key, _, _ in a.reads}))
    pipe.add(COMMANDS, wire.uuids([a.firm_bytes for a in batch]), wire.uuids([a.command_bytes for a in batch]))
    _, _, head, heads, versions, known = yield from pipe.sending()
    start = wire.read_int8(head.get_value(0, 0))
    results, accepted = _decide(batch, start, read_versions(versions), read_commands(known), again=again)
    if accepted:
        yield from _writing(pipe, accepted, start, read_firms(heads))
    else:
        pipe.add(ROLLBACK)
        yield from pipe.sending()
    return results


def _decide(
    batch: Sequence[Append],
    start: int,
    version: dict[bytes, int],
    commands: dict[bytes, tuple[bytes, int, bytes]],
    *,
    again: bool,
) -> tuple[list[Appended | BaseException], list[Append]]:
    """The result of every command, and those that are to be written, in order."""
    position = start
    results: list[Appended | BaseException] = []
    accepted: list[Append] = []
    for a in batch:
        command = a.firm_bytes + a.command_bytes
        seen = commands.get(command)
        if seen is not None:
            mac, at, answer = seen
            repeated = not (again and answer == a.answer)
            results.append(Appended(at, answer, repeated) if mac == a.body_mac else CommandIdReused())
            continue
        for key, wanted, stream in a.reads:
            if version.get(key, 0) != wanted:
                results.append(Conflict(*stream))
                break
        else:
            version.update(a.writes)
            position += len(a.events)
            commands[command] = (a.body_mac, position, a.answer)
            accepted.append(a)
            results.append(Appended(position, a.answer, False))
    return results, accepted


class _Rows:
    """What accepted commands add: places are counted from where the record and each firm stand before them."""

    def __init__(self, accepted: Sequence[Append]) -> None:
        self.accepted = accepted
        self.ends: list[int] = []
        self.touched: dict[bytes, int] = {}
        self.firms: dict[bytes, int] = {}
        self.firm_of: list[bytes] = []
        self.in_firm: list[int] = []
        self.commands: list[bytes] = []
        self.recorded: list[int] = []
        self.occurred: list[int] = []
        self.events: list[Made] = []
        self.sealed: list[bytes | None] = []
        self.keys: list[NewKey] = []
        position = 0
        for a in accepted:
            firm = a.firm_bytes
            count = len(a.events)
            if count:
                at = self.firms.get(firm, 0)
                self.firms[firm] = at + count
                self.firm_of += [firm] * count
                self.in_firm += range(at, at + count)
                self.commands += [a.command_bytes] * count
                moment, recorded = a.recorded_at, wire.micros(a.recorded_at)
                self.recorded += [recorded] * count
                self.occurred += [recorded if e.occurred_at is moment else wire.micros(e.occurred_at) for e in a.events]
                self.events += a.events
                self.sealed += a.sealed
                self.touched.update(a.writes)
            self.keys += a.keys
            position += count
            self.ends.append(position)

    def of_commands(self, start: int) -> tuple[bytes, ...]:
        """As `INSERT_COMMANDS` wants them."""
        accepted = self.accepted
        return (
            wire.uuids([a.firm_bytes for a in accepted]),
            wire.uuids([a.command_bytes for a in accepted]),
            wire.byteas([a.body_mac for a in accepted]),
            wire.int8s([start + end for end in self.ends] if start else self.ends),
            wire.byteas([a.answer for a in accepted]),
        )

    def of_events(self) -> tuple[bytes, ...]:
        """From `stream_id` on, as `INSERT_EVENTS` wants them."""
        events = self.events
        return (
            wire.uuids([e.stream_id.bytes for e in events]),
            wire.int8s([e.stream_version for e in events]),
            wire.uuids([e.event_id.bytes for e in events]),
            wire.times(self.recorded),
            wire.times(self.occurred),
            wire.uuids(self.commands),
            wire.texts([e.stream_type for e in events]),
            wire.texts([e.type for e in events]),
            wire.byteas([e.public for e in events]),
            wire.byteas(self.sealed),
        )


def _writing(pipe: wire.Pipe, accepted: Sequence[Append], start: int, firm_start: dict[bytes, int]) -> wire.Talk[None]:
    """Insert what was accepted, and commit."""
    rows = _Rows(accepted)
    events = rows.events
    position = start + len(events)
    if position // PARTITION_AHEAD != start // PARTITION_AHEAD:
        pipe.add(EXTEND, wire.int8(position + PARTITION_AHEAD))
        yield from pipe.sending()
    places = range(start + 1, position + 1)
    numbers = [firm_start.get(firm, 0) + at for firm, at in zip(rows.firm_of, rows.in_firm, strict=True)]
    if len(events) >= COPY_FROM:
        packed = [
            wire.event_row(
                wire.event_place(at, firm, number), e.stream_id.bytes, e.stream_version, e.event_id.bytes, moment, wire.micros(e.occurred_at),
                command, e.stream_type.encode(), e.type.encode(), e.public, s,
            )
            for at, firm, number, e, moment, command, s in zip(
                places, rows.firm_of, numbers, events, rows.recorded, rows.commands, rows.sealed, strict=True
            )
        ]  # fmt: skip
        yield from copying_rows(pipe, start, packed)
    elif events:
        pipe.add(INSERT_EVENTS, wire.int8s(places), wire.uuids(rows.firm_of), wire.int8s(numbers), *rows.of_events())
    pipe.add(INSERT_COMMANDS, *rows.of_commands(start))
    if rows.keys:
        add_keys(pipe, rows.keys)
    if events:
        add_heads(pipe, rows.touched, {firm: firm_start.get(firm, 0) + count for firm, count in rows.firms.items()}, position)
    pipe.add(COMMIT)
    yield from pipe.sending()


def copying_rows(pipe: wire.Pipe, start: int, rows: Sequence[bytes]) -> wire.Talk[None]:
    """Add rows by COPY to the partitions of the positions from `start + 1` on."""
    done = 0
    while done < len(rows):
        partition = (start + done + 1) // PARTITION_SIZE
        until = min(len(rows), (partition + 1) * PARTITION_SIZE - start - 1)
        yield from pipe.copying(COPY_EVENTS % partition, b"".join(rows[done:until]))
        done = until
