"""What sealing costs: the same commands with one personal value, and with the same value not personal."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID, uuid4

from bench.append import SECONDS, Ours, fresh_keys
from bench.harness import Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from commands.deals import NoteOnDeal
from commands.kernel import COMMANDS, Answer, CommandSpec, Work
from domain.kernel import Personal, Stream, event


@event("bench.Sealed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    note: Annotated[str, Personal()]


@event("bench.Plain.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    note: str


STREAM: Stream[int, Sealed | Plain] = Stream("bench", 0, lambda state, _: state + 1)


async def _sealed(c: NoteOnDeal, w: Work) -> Answer:
    w.record(await w.find(STREAM, c.id), [Sealed(note=c.note)])
    return None


async def _plain(c: NoteOnDeal, w: Work) -> Answer:
    w.record(await w.find(STREAM, c.id), [Plain(note=c.note)])
    return None


def measure(p: Place) -> list[Figure]:
    ours = Ours(p)
    spec = COMMANDS["deals.note"]
    streams = [uuid4() for _ in range(64)]

    def commands(handler: Callable[[Any, Work], Any]) -> float:
        return ours.loop.run_until_complete(_commands(ours, replace(spec, handler=handler), streams, p))

    try:
        commands(_sealed)
        pairs = interleaved(lambda: commands(_sealed), lambda: commands(_plain))
    finally:
        ours.close()
    return [figure("sealed append, 64 in flight", "the same with nothing sealed", pairs, goal=0.85)]


async def _commands(ours: Ours, spec: CommandSpec, streams: list[UUID], p: Place) -> float:
    done = 0
    keys = fresh_keys()
    until = time.perf_counter() + SECONDS

    async def client(stream: UUID) -> None:
        nonlocal done
        while time.perf_counter() < until:
            command = NoteOnDeal(id=stream, note=NOTE)
            await ours.executor.execute(command, firm=p.firm, actor=ACTOR, target=stream, idempotency_key=next(keys), spec=spec)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(client(s) for s in streams))
    return done / (time.perf_counter() - started)
