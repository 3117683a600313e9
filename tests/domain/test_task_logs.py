"""Real logs of work, recounted as they tell it."""

import gzip
from collections import Counter
from collections.abc import Iterator
from typing import get_args

import pytest
from defusedxml.ElementTree import iterparse

from domain import tasks
from domain.kernel import fold
from domain.tasks import Task, evolve
from domain.tasks.events import TaskCreated
from domain.tasks.lifecycle import STEPS, step_of
from tests.shared import shared


def cases(path: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    with gzip.open(shared(path)) as file:
        for _, element in iterparse(file):
            if element.tag.rsplit("}", 1)[-1] == "trace":
                name = next(x.get("value") for x in element if x.get("key") == "concept:name")
                yield name, [{a.get("key"): a.get("value") for a in x} for x in element if x.tag.rsplit("}", 1)[-1] == "event"]
                element.clear()


def test_words_are_taken_whatever_their_case_and_joints() -> None:
    assert step_of("In Progress") == step_of("in_progress") == step_of(" IN-PROGRESS ") == "start"
    assert step_of("Require upgrade") == "note"
    assert set(STEPS.values()) <= set(get_args(tasks.Step))


@pytest.mark.invariant("T5")
def test_every_step_of_a_bank_s_work_items_is_carried() -> None:
    steps: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for _, events in cases("data/bpic2012-loan/split/dev.xes.gz"):
        items: dict[str, Task] = {}
        for x in events:
            activity, transition = x["concept:name"], x["lifecycle:transition"]
            if not activity.startswith("W_"):
                continue
            state = items.get(activity) or fold(Task(), evolve, [TaskCreated(title=activity)])
            told = tasks.recount(state, step=step_of(transition), activity=transition, resource=x.get("org:resource"))
            assert len(told) == 1
            steps[type(told[0]).__name__] += 1
            items[activity] = fold(state, evolve, told)
        statuses.update(t.status for t in items.values())
    assert (sum(steps.values()), set(steps)) == (68_296, {"TaskScheduled", "TaskStarted", "TaskCompleted"})
    assert statuses == {"completed": 8884, "scheduled": 4}


@pytest.mark.parametrize(
    ("path", "key", "count", "noted"),
    [
        ("data/helpdesk-italian/helpdesk.xes.gz", "concept:name", 21_348, {"assign seriousness", "insert ticket"}),
        ("data/bpic2013-incidents/bpic2013_closed_problems.xes.gz", "lifecycle:transition", 6_660, {"unmatched"}),
    ],
)
def test_every_step_of_a_help_desk_s_tickets_is_carried(path, key, count, noted) -> None:
    seen = 0
    unknown = set()
    for _, events in cases(path):
        state = fold(Task(), evolve, [TaskCreated(title="Ticket")])
        for x in events:
            told = tasks.recount(state, step=step_of(x[key]), activity=x[key], resource=x.get("org:resource"))
            state = fold(state, evolve, told)
            seen += len(told)
            if step_of(x[key]) == "note":
                unknown.add(x[key].lower())
    assert seen == count
    assert noted <= unknown
