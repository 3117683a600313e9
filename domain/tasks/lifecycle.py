"""What other systems call the steps of work: the transitions of the XES lifecycle extension (IEEE 1849) and help desks' statuses."""

import re
from collections.abc import Mapping

from domain.tasks.decisions import Step

STEPS: Mapping[str, Step] = {
    # IEEE 1849-2016, lifecycle extension, standard model
    "schedule": "schedule",
    "assign": "assign",
    "reassign": "assign",
    "start": "start",
    "resume": "start",
    "suspend": "pause",
    "complete": "complete",
    "autoskip": "cancel",
    "manualskip": "cancel",
    "withdraw": "cancel",
    "ate abort": "cancel",
    "pi abort": "cancel",
    # statuses that trackers and help desks write instead
    "assigned": "assign",
    "awaiting assignment": "unassign",
    "queued": "unassign",
    "accepted": "assign",
    "started": "start",
    "in progress": "start",
    "in call": "start",
    "take in charge ticket": "start",
    "on hold": "pause",
    "wait": "pause",
    "wait user": "pause",
    "wait vendor": "pause",
    "wait customer": "pause",
    "wait implementation": "pause",
    "waiting": "pause",
    "blocked": "block",
    "unblocked": "unblock",
    "done": "complete",
    "resolved": "complete",
    "completed": "complete",
    "closed": "complete",
    "resolve ticket": "complete",
    "cancelled": "cancel",
    "canceled": "cancel",
    "reopen": "reopen",
    "reopened": "reopen",
}


def step_of(word: str) -> Step:
    """The step that another system's word stands for; `note`, which keeps the word, where it stands for none."""
    return STEPS.get(" ".join(re.split(r"[\s_-]+", word.strip().lower())), "note")
