"""Undoing, tried with random work on a task: the state is as it was before, or the refusal says why not."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from commands.kernel import Actor, Work
from commands.undo import CantBeUndone, ChangedSince, Done, NoLongerPossible, StandsInTheWay, plan
from domain import tasks
from domain.kernel import Refused
from domain.members import ALL_PERMISSIONS
from domain.tasks import TASK
from infra import registry
from projections.kernel import Recorded
from tests.desk import Desk

registry.load()


class DeskPast:
    """The record of a desk, as an undo looks back on it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def of_command(self, firm: UUID, command_id: object) -> Sequence[Done]:
        mine = [r for r in self._desk.record if r.firm == firm and r.command_id == str(command_id)]
        return [Done(stream_type=r.stream_type, stream_id=r.stream_id, version=r.version) for r in mine]

    async def stream(self, firm: UUID, type: str, id: UUID) -> Sequence[Recorded]:
        return [r for r in self._desk.record if (r.firm, r.stream_type, r.stream_id) == (firm, type, id)]


DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOTE = UUID(int=7)
ACTS: dict[str, Any] = {
    "title": lambda t: tasks.retitle(t, title="Another"),
    "title back": lambda t: tasks.retitle(t, title="First"),
    "labels": lambda t: tasks.label(t, labels=["a", "b"]),
    "fewer labels": lambda t: tasks.label(t, labels=["a"]),
    "due": lambda t: tasks.change_due(t, due_at=DAY),
    "not due": lambda t: tasks.change_due(t, due_at=None),
    "schedule": lambda t: tasks.schedule(t, starts_at=DAY),
    "unschedule": tasks.unschedule,
    "start": tasks.start,
    "pause": tasks.pause,
    "block": lambda t: tasks.block(t, reason="rain"),
    "unblock": tasks.unblock,
    "complete": tasks.complete,
    "cancel": tasks.cancel,
    "reopen": tasks.reopen,
    "comment": lambda t: tasks.comment(t, id=NOTE, text="x") if NOTE not in dict(t.comments) else [],
    "amend comment": lambda t: tasks.amend_comment(t, id=NOTE, text="y") if NOTE in dict(t.comments) else [],
    "remove comment": lambda t: tasks.remove_comment(t, id=NOTE),
    "archive": tasks.archive,
    "restore": tasks.restore,
}


def work(desk: Desk, command_id: str) -> Work:
    return Work(
        outside=desk, firm=desk.firm, actor=Actor("member", "1"), now=desk.now, command_id=command_id, permissions=ALL_PERMISSIONS
    )


def recorded(desk: Desk, w: Work) -> None:
    for made in w.made:
        desk.record.append(
            Recorded(
                position=len(desk.record) + 1,
                firm=desk.firm,
                firm_position=len(desk.record),
                stream_type=made.stream_type,
                stream_id=made.stream_id,
                version=made.stream_version,
                event_id=made.event_id,
                name=made.type,
                event=desk._pending.pop(made.event_id),
                occurred_at=made.occurred_at,
                recorded_at=desk.now,
                actor=str(w.actor),
                origin=None,
                command_id=w.command_id,
            )
        )


async def tried(acts: list[str], which: int) -> None:
    desk = Desk()
    desk.past = DeskPast(desk)  # type: ignore[attr-defined]  # a port, as infra gives it
    id = UUID(int=3)
    states = []
    commands = []
    for n, act in enumerate(["create", *acts]):
        w = work(desk, f"c{n}")
        task = await w.find(TASK, id)
        before = task.state
        try:
            w.record(task, tasks.create(before, title="First") if act == "create" else ACTS[act](before))
        except Refused:
            continue
        recorded(desk, w)
        if w.made and act != "create":
            states.append(before)
            commands.append(w.command_id)
    if not commands:
        return
    chosen = which % len(commands)
    undo = work(desk, "undo")
    latest = (await undo.find(TASK, id)).state
    made_by = [r.version for r in desk.record if r.command_id == commands[chosen]]
    try:
        await plan(undo, commands[chosen])  # type: ignore[arg-type]  # the desk counts its commands
    except (ChangedSince, StandsInTheWay) as e:
        culprit = next(r for r in desk.record if str(r.event_id) == e.about["event_id"])
        assert culprit.version > max(made_by)
        return
    except NoLongerPossible:
        return
    after = undo.entities[(TASK.type, id)].state
    if chosen == len(commands) - 1:
        assert after == states[chosen]
    else:
        event = next(r for r in desk.record if r.command_id == commands[chosen]).event
        changed = {
            f
            for f in TASK.initial.__dataclass_fields__
            if getattr(states[chosen], f) != getattr(TASK.evolve(states[chosen], event), f)
        }
        kept = set(TASK.initial.__dataclass_fields__) - changed
        assert all(getattr(after, f) == getattr(latest, f) for f in kept)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(sorted(ACTS)), max_size=12), st.integers(0, 11))
@example(["block", "cancel", "reopen", "block"], 2)  # taking the reopening back would end the block
def test_after_an_undo_everything_is_as_before_or_the_refusal_names_what_is_later(acts: list[str], which: int) -> None:
    asyncio.run(tried(acts, which))


async def test_what_has_no_inverse_is_refused() -> None:
    desk = Desk()
    desk.past = DeskPast(desk)  # type: ignore[attr-defined]  # a port, as infra gives it
    w = work(desk, "told")
    task = w.create(TASK, UUID(int=4))
    w.record(task, tasks.create(task.state, title="Told"))
    recorded(desk, w)
    told = work(desk, "noted")
    task = await told.load(TASK, UUID(int=4))
    told.record(task, tasks.recount(task.state, step="note", activity="Something"))
    recorded(desk, told)
    with pytest.raises(CantBeUndone):
        await plan(work(desk, "undo"), "noted")  # type: ignore[arg-type]  # the desk counts its commands
