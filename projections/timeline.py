"""What happened to what: a row for each event and each thing it touches, its own stream first and whatever it names besides.

Rows never change. The row of the event's own stream has the event's id and says what there is to say in short; the others, of
contacts, deals, tasks, documents, members and so on that the event names, say only in which role they were named. A row's
`created_at` is the business time of the event.
"""

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

from domain.hints import bare, personal_mark
from domain.kernel import Personal
from projections.kernel import Recorded, View, view
from projections.rows import derived, remembered

OWN = "self"
MOST_NAMED = 50  # things one event touches besides its own; a roll of more is on the timeline of its project alone
LONGEST = 200
MOST_LISTED = 10

NAMED = frozenset(
    {
        *("contact", "organisation", "deal", "task", "tasks", "document", "documents", "project", "person", "about", "target"),
        *("source", "other", "survivor", "owner", "previous", "assignee", "member", "performer", "parent", "folder"),
    }
)
"""Fields whose ids are of things that have a timeline; parties of a deal come besides."""

UNTOLD = frozenset({"prev", "seq", "record_id", "controller", "sha256", "token_sha256", "public_id", "part"})
"""Fields that say nothing to a reader, or belong to a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """`subject` is touched by the event `name` of another stream, or its own where `role` is self; `facts` and `texts` are those of the
    event's own row alone. `person` is whose key seals the texts."""

    subject: UUID
    role: str
    event_id: UUID
    name: str
    stream_type: str
    stream_id: UUID
    recorded_at: datetime
    actor: str
    origin: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    person: UUID | None = None
    texts: Annotated[dict[str, str], Personal(subject="person")] = field(default_factory=dict)


# --- what an event's class says of its fields, worked out once


@dataclass(frozen=True, slots=True)
class Plan:
    named: tuple[str, ...]
    facts: tuple[str, ...]
    texts: tuple[str, ...]
    person: str


_PLANS: dict[type, Plan] = {}


def plan(event: type) -> Plan:
    known = _PLANS.get(event)
    if known is None:
        known = _PLANS[event] = _planned(event)
    return known


def _planned(event: type) -> Plan:
    hints = typing.get_type_hints(event, include_extras=True)
    named, facts, texts, person = [], [], [], ""
    for f in fields(event):
        mark, kind = personal_mark(hints[f.name]), bare(hints[f.name])
        if mark is not None:
            if kind is str:
                texts.append(f.name)
                person = mark.subject
            continue
        listed = typing.get_args(kind)[:1] if typing.get_origin(kind) is tuple else ()
        if f.name in NAMED and UUID in {kind, *(bare(x) for x in listed)}:
            named.append(f.name)
        if f.name not in UNTOLD:
            facts.append(f.name)
    return Plan(tuple(named), tuple(facts), tuple(texts), person)


def named(r: Recorded) -> Mapping[UUID, str]:
    """The things an event names besides its own stream, each with the first role it is named in."""
    out: dict[UUID, str] = {}
    for name in plan(type(r.event)).named:
        value = getattr(r.event, name)
        for id in value if isinstance(value, tuple) else (value,):
            if id is not None and id.int != r.stream_id.int:
                out.setdefault(id, name)
    party = getattr(r.event, "party", None)
    for p in (*getattr(r.event, "parties", ()), *((party,) if party is not None else ())):
        out.setdefault(p.id, p.role)
    return dict(list(out.items())[:MOST_NAMED])


def _told(value: Any) -> str | None:
    """A value in a few words; None when there is nothing to say."""
    match value:
        case None | "" | ():
            return None
        case Enum():
            return str(value.value)
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case str():
            return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"
        case int() | Decimal() | date() | UUID():
            return str(value)
        case tuple() if len(value) <= MOST_LISTED:
            parts = [_told(v) for v in value]
            return _told(", ".join(p for p in parts if p is not None))
        case tuple():
            return str(len(value))
        case _:
            name = getattr(value, "name", None) or getattr(value, "key", None)
            return _told(name) if isinstance(name, str) else None


def _all(event: Any, names: Iterable[str], told: Callable[[Any], str | None]) -> dict[str, str]:
    return {name: said for name in names if (said := told(getattr(event, name))) is not None}


def subject_key(event: UUID, subject: UUID) -> UUID:
    """The row of something an event names."""
    return derived(event, str(subject))


@remembered
def rows(r: Recorded) -> Mapping[UUID, tuple[UUID, str]]:
    """The rows of an event: what each is about, and its role."""
    return {
        r.event_id: (r.stream_id, OWN),
        **{subject_key(r.event_id, subject): (subject, role) for subject, role in named(r).items()},
    }


def keys(r: Recorded) -> Iterable[UUID]:
    return list(rows(r))


def fold(row: TimelineRow | None, key: UUID, r: Recorded) -> TimelineRow | None:
    own = key.int == r.event_id.int
    p = plan(type(r.event))
    touched = rows(r).get(key)
    if touched is None:
        return row
    texts = _all(r.event, p.texts, _told) if own else {}
    return TimelineRow(
        subject=touched[0],
        role=touched[1],
        event_id=r.event_id,
        name=r.name,
        stream_type=r.stream_type,
        stream_id=r.stream_id,
        recorded_at=r.recorded_at,
        actor=r.actor,
        origin=r.origin,
        facts=_all(r.event, p.facts, _told) if own else {},
        person=(getattr(r.event, p.person) if p.person else r.stream_id) if texts else None,
        texts=texts,
    )


TIMELINE = view(View(name="timeline", version=1, table="views.timeline", row=TimelineRow, keys=keys, fold=fold, once=True))
