import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import tasks
from domain.kernel import NotFound, Personal, Refused, fold
from domain.tasks import Task, evolve
from domain.tasks import events as e
from tests.story import Story

MEMBER, CONTACT, PROJECT, OTHER = (uuid4() for _ in range(4))
MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
CREATED = e.TaskCreated(title="Check the register", contact=CONTACT)
task = Story(Task(), evolve).given(CREATED)


def test_a_task_is_created_with_everything_that_is_known() -> None:
    Story(Task(), evolve).when(
        tasks.create, title="Call", documents=(PROJECT, PROJECT), labels=(" urgent ", "urgent", ""), estimate_minutes=90
    ).then(e.TaskCreated(title="Call", documents=(PROJECT,), labels=("urgent",), estimate_minutes=90))


@pytest.mark.invariant("T4")
def test_a_task_is_not_created_twice() -> None:
    task.when(tasks.create, title="Call").then_nothing()


def test_work_begins_pauses_goes_on_and_ends() -> None:
    task.when(tasks.start).then(e.TaskStarted())
    task.given(CREATED, e.TaskStarted()).when(tasks.pause).then(e.TaskPaused())
    task.given(CREATED, e.TaskStarted(), e.TaskPaused()).when(tasks.start).then(e.TaskStarted())
    task.given(CREATED, e.TaskStarted()).when(tasks.complete).then(e.TaskCompleted())


def test_a_small_task_is_completed_without_having_been_started() -> None:
    task.when(tasks.complete).then(e.TaskCompleted())


def test_work_that_has_not_begun_is_not_paused() -> None:
    task.when(tasks.pause).then_refused(tasks.TaskIsNotStarted)


Decision = tuple[Callable[..., Sequence[e.Event]], dict[str, Any]]
STEPS: list[Decision] = [
    (tasks.start, {}),
    (tasks.pause, {}),
    (tasks.block, {"reason": "no answer"}),
    (tasks.schedule, {"starts_at": MONDAY}),
    (tasks.assign, {"assignee": MEMBER, "active": True}),
    (tasks.reestimate, {"estimate_minutes": 5}),
    (tasks.change_due, {"due_at": MONDAY}),
]


@pytest.mark.invariant("T1")
@pytest.mark.parametrize(("step", "data"), STEPS)
def test_a_finished_task_takes_no_step_until_it_is_reopened(step, data) -> None:
    for end in (e.TaskCompleted(), e.TaskCancelled()):
        task.given(CREATED, end).when(step, **data).then_refused(tasks.TaskIsFinished)
    task.given(CREATED, e.TaskCompleted()).when(tasks.cancel).then_refused(tasks.TaskIsFinished)
    task.given(CREATED, e.TaskCancelled()).when(tasks.complete).then_refused(tasks.TaskIsFinished)
    task.given(CREATED, e.TaskCompleted()).when(tasks.reopen, reason="again").then(e.TaskReopened(reason="again", contact=CONTACT))
    task.given(CREATED, e.TaskCompleted(), e.TaskReopened()).when(tasks.start).then(e.TaskStarted())


@pytest.mark.invariant("T2")
def test_a_blocked_task_is_neither_started_nor_completed() -> None:
    blocked = task.given(CREATED, e.TaskBlocked(reason="no answer"))
    blocked.when(tasks.start).then_refused(tasks.TaskIsBlocked)
    blocked.when(tasks.complete).then_refused(tasks.TaskIsBlocked)
    blocked.when(tasks.cancel).then(e.TaskCancelled(contact=CONTACT))
    blocked.when(tasks.block, reason="court is closed").then(e.TaskBlocked(reason="court is closed", contact=CONTACT))
    task.given(CREATED, e.TaskBlocked(reason="no answer"), e.TaskUnblocked()).when(tasks.start).then(e.TaskStarted())


@pytest.mark.invariant("T3")
def test_an_archived_task_does_not_change_until_it_is_restored() -> None:
    archived = task.given(CREATED, e.TaskArchived())
    others: list[Decision] = [
        (tasks.complete, {}),
        (tasks.cancel, {}),
        (tasks.retitle, {"title": "Other"}),
        (tasks.describe, {"description": "Other"}),
        (tasks.classify, {"kind": "call"}),
        (tasks.prioritise, {"priority": "high"}),
        (tasks.label, {"labels": ("x",)}),
        (tasks.link, {"what": "deal", "target": OTHER}),
        (tasks.unlink, {"what": "contact", "target": CONTACT}),
        (tasks.place, {"project": PROJECT}),
        (tasks.comment, {"id": OTHER, "text": "Hm"}),
    ]
    for step, data in (*STEPS, *others):
        archived.when(step, **data).then_refused(tasks.TaskIsArchived)
    task.given(CREATED, e.TaskArchived(), e.TaskRestored()).when(tasks.start).then(e.TaskStarted())


@pytest.mark.invariant("T4")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    task.when(tasks.retitle, title="Check the register").then_nothing()
    task.when(tasks.describe, description=None).then_nothing()
    task.when(tasks.classify, kind="task").then_nothing()
    task.when(tasks.prioritise, priority="normal").then_nothing()
    task.when(tasks.label, labels=()).then_nothing()
    task.when(tasks.link, what="contact", target=CONTACT).then_nothing()
    task.when(tasks.unlink, what="deal", target=OTHER).then_nothing()
    task.when(tasks.unassign).then_nothing()
    task.when(tasks.unblock).then_nothing()
    task.when(tasks.unschedule).then_nothing()
    task.when(tasks.reopen).then_nothing()
    task.when(tasks.restore).then_nothing()
    task.when(tasks.take_out, project=PROJECT).then_nothing()
    task.when(tasks.remove_comment, id=OTHER).then_nothing()
    task.given(CREATED, e.TaskCompleted(), e.TaskArchived()).when(tasks.complete).then_nothing()


@pytest.mark.invariant("T10")
def test_a_task_is_given_to_an_active_member_only() -> None:
    task.when(tasks.assign, assignee=MEMBER, active=True).then(e.TaskAssigned(assignee=MEMBER))
    task.when(tasks.assign, assignee=MEMBER, active=False).then_refused(tasks.AssigneeIsInactive)
    Story(Task(), evolve).when(tasks.create, title="Call", assignee=MEMBER, active=False).then_refused(tasks.AssigneeIsInactive)


@pytest.mark.invariant("T6")
def test_an_estimate_is_whole_minutes_up_to_ten_years() -> None:
    task.when(tasks.reestimate, estimate_minutes=0).then(e.TaskReestimated(estimate_minutes=0))
    task.when(tasks.reestimate, estimate_minutes=-1).then_refused(tasks.EstimateOutOfRange)
    task.when(tasks.reestimate, estimate_minutes=tasks.MOST_MINUTES + 1).then_refused(tasks.EstimateOutOfRange)
    assert tasks.minutes(days=3) == 1440
    assert tasks.minutes(days=3, working_day=420) == 1260


@pytest.mark.invariant("T7")
def test_a_schedule_does_not_end_before_it_starts() -> None:
    task.when(tasks.schedule, starts_at=MONDAY, ends_at=MONDAY).then(e.TaskScheduled(starts_at=MONDAY, ends_at=MONDAY))
    task.when(tasks.schedule, starts_at=MONDAY, ends_at=MONDAY - timedelta(minutes=1)).then_refused(
        tasks.ScheduleEndsBeforeItStarts
    )


def test_a_scheduled_task_that_is_taken_out_of_the_schedule_is_open_again() -> None:
    state = fold(Task(), evolve, [CREATED, e.TaskScheduled(starts_at=MONDAY), *tasks.unschedule(Task(status="scheduled"))])
    assert (state.status, state.starts_at) == ("open", None)


@pytest.mark.invariant("T8")
def test_a_task_leaves_one_project_before_it_is_placed_in_another() -> None:
    placed = task.given(CREATED, e.TaskPlaced(project=PROJECT))
    placed.when(tasks.place, project=OTHER).then_refused(tasks.TaskStandsInAnotherProject)
    placed.when(tasks.place, project=PROJECT).then_nothing()
    placed.when(tasks.take_out, project=OTHER).then_nothing()
    task.given(CREATED, e.TaskPlaced(project=PROJECT), e.TaskTakenOut(project=PROJECT)).when(tasks.place, project=OTHER).then(
        e.TaskPlaced(project=OTHER)
    )


def test_a_task_is_about_one_contact_and_many_documents() -> None:
    task.when(tasks.link, what="contact", target=OTHER).then_refused(tasks.LinkIsTaken)
    task.given(CREATED, e.TaskLinked(what="document", target=OTHER)).when(tasks.link, what="document", target=PROJECT).then(
        e.TaskLinked(what="document", target=PROJECT)
    )


def test_a_comment_is_amended_and_removed_by_its_id() -> None:
    said = task.given(CREATED, e.TaskCommented(comment=OTHER, text="Hm"))
    said.when(tasks.amend_comment, id=OTHER, text="Aha").then(e.TaskCommentAmended(comment=OTHER, text="Aha", contact=CONTACT))
    said.when(tasks.amend_comment, id=OTHER, text="Hm").then_nothing()
    said.when(tasks.amend_comment, id=MEMBER, text="Aha").then_refused(NotFound)
    said.when(tasks.remove_comment, id=OTHER).then(e.TaskCommentRemoved(comment=OTHER))


@pytest.mark.invariant("T9")
def test_text_about_a_person_is_sealed_for_the_contact_the_task_is_about() -> None:
    marked = {"title", "description", "reason", "text", "resource"}
    for cls in get_args(e.Event):
        hints = get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            personal = [m for m in getattr(hints[field.name], "__metadata__", ()) if isinstance(m, Personal)]
            assert bool(personal) == (field.name in marked), f"{cls.__name__}.{field.name}"
            for mark in personal:
                assert not mark.subject or hints[mark.subject] in (UUID, UUID | None)


steps = st.lists(st.sampled_from(get_args(tasks.Step)), max_size=30)


@pytest.mark.invariant("T5")
@given(steps)
def test_history_is_recorded_as_told_in_any_order(told) -> None:
    state = fold(Task(), evolve, [CREATED])
    for step in told:
        events = tasks.recount(state, step=step, activity="W_Nabellen offertes", resource="11169")
        assert [type(x).__name__ for x in events] == [
            "Task"
            + {
                "schedule": "Scheduled",
                "assign": "Assigned",
                "unassign": "Unassigned",
                "start": "Started",
                "pause": "Paused",
                "block": "Blocked",
                "unblock": "Unblocked",
                "complete": "Completed",
                "cancel": "Cancelled",
                "reopen": "Reopened",
                "note": "Noted",
            }[step]
        ]
        told_of: Any = events[0]
        assert (told_of.activity, told_of.resource) == ("W_Nabellen offertes", "11169")
        state = fold(state, evolve, events)


decisions = st.one_of(
    [st.tuples(st.just(f), st.just(d)) for f, d in (*STEPS, (tasks.complete, {}), (tasks.cancel, {}), (tasks.reopen, {}))]
    + [st.tuples(st.just(f), st.just({})) for f in (tasks.archive, tasks.restore, tasks.unblock, tasks.unschedule, tasks.unassign)]
)


@pytest.mark.invariant("T4")
@given(st.lists(decisions, max_size=25))
def test_the_same_decision_again_records_nothing(wanted) -> None:
    state = fold(Task(), evolve, [CREATED])
    for decide, data in wanted:
        try:
            state = fold(state, evolve, decide(state, **data))
        except Refused:
            continue
        assert decide(state, **data) == []
