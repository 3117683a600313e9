"""The rows of timelines, of comings to stages and of parties, folded from what commands record."""

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from domain.deals import DealLost, DealMoved, DealOpened, DealReopened, DealWon, Party, PartyAdded, PartyRemoved, StageAt
from domain.kernel import EVENTS, FirmId
from domain.notes import NoteWritten
from domain.tasks.events import TaskCreated
from projections.deal_parties import DEAL_PARTIES
from projections.kernel import Recorded, View
from projections.stage_entries import STAGE_ENTRIES
from projections.timeline import LONGEST, OWN, TIMELINE, TimelineRow, plan
from tests.desk import NAMES

FIRM = FirmId(UUID(int=1))
DEAL, ANN, MIA, PIPELINE = (UUID(int=n) for n in range(10, 14))
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
TALK = StageAt(pipeline=PIPELINE, id=UUID(int=20), name="Talk", probability=20)
GONE = StageAt(pipeline=PIPELINE, id=UUID(int=21), name="Gone", kind="lost")


def recorded(event: Any, version: int = 1, *, stream: UUID = DEAL, kind: str = "deal", actor: str = "member/x") -> Recorded:
    NAMES.update({cls: name for name, cls in EVENTS.items() if cls not in NAMES})
    return Recorded(
        position=version,
        firm=FIRM,
        firm_position=version - 1,
        stream_type=kind,
        stream_id=stream,
        version=version,
        event_id=UUID(int=1000 + version),
        name=NAMES[type(event)],
        event=event,
        occurred_at=AT,
        recorded_at=AT,
        actor=actor,
        origin=None,
        command_id="c",
    )


def rows(view: View[Any], *events: Recorded) -> dict[UUID, Any]:
    found: dict[UUID, Any] = {}
    for r in events:
        for key in view.keys(r):
            after = view.fold(found.get(key), key, r)
            if after is None:
                found.pop(key, None)
            else:
                found[key] = after
    return found


def test_an_event_stands_on_the_timeline_of_its_stream_and_of_all_it_names() -> None:
    parties = (Party(kind="contact", id=ANN, role="client"),)
    event = DealOpened(stage=TALK, contact=ANN, owner=MIA, parties=parties, title="Ann's house", amount=Decimal("10.50"))
    found = rows(TIMELINE, recorded(event))
    assert {(row.subject, row.role) for row in found.values()} == {(DEAL, OWN), (ANN, "contact"), (MIA, "owner")}
    own = found[UUID(int=1001)]
    assert (own.facts["stage"], own.facts["amount"], own.texts, own.person) == ("Talk", "10.50", {"title": "Ann's house"}, ANN)
    assert all(row.facts == row.texts == {} and row.person is None for row in found.values() if row.role != OWN)


def test_personal_values_are_never_among_the_facts() -> None:
    for cls in EVENTS.values():
        p = plan(cls)
        assert not set(p.facts) & set(p.texts), cls
        assert "sha256" not in p.facts, cls
    task = TaskCreated(title="Call Ann-Sofie", contact=ANN, assignee=MIA)
    own = rows(TIMELINE, recorded(task, kind="task"))[UUID(int=1001)]
    assert own.texts == {"title": "Call Ann-Sofie"}
    assert "Ann-Sofie" not in str(own.facts)
    note = NoteWritten(about_type="contact", about=ANN, kind="note", text="She rides " * 100)
    own = rows(TIMELINE, recorded(note, kind="note"))[UUID(int=1001)]
    assert len(own.texts["text"]) == LONGEST


@given(st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=3))
def test_every_kind_of_event_has_a_plan_and_names_only_fields_it_has(names: list[str]) -> None:
    for name in names:
        p = plan(EVENTS[name])
        assert {*p.named, *p.facts, *p.texts, *([p.person] if p.person else [])} <= {
            f.name for f in dataclasses.fields(EVENTS[name])
        }


def test_an_event_applied_again_leaves_the_same_row() -> None:
    r = recorded(DealMoved(origin=TALK.id, target=GONE, contact=ANN))
    assert rows(TIMELINE, r, r) == rows(TIMELINE, r)
    assert rows(STAGE_ENTRIES, r, r) == rows(STAGE_ENTRIES, r)
    assert all(isinstance(row, TimelineRow) for row in rows(TIMELINE, r).values())


def test_a_deal_leaves_an_entry_for_each_coming_and_each_closing() -> None:
    events = [
        DealOpened(stage=TALK),
        DealLost(closed_on=AT.date(), reason_code="price"),
        DealReopened(target=TALK),
        DealWon(closed_on=AT.date()),
        PartyAdded(party=Party(kind="contact", id=ANN, role="client")),
    ]
    found = rows(STAGE_ENTRIES, *(recorded(e, n) for n, e in enumerate(events, 1)))
    assert [(e.number, e.how, e.stage_id) for e in sorted(found.values(), key=lambda e: e.number)] == [
        (1, "opened", TALK.id),
        (2, "lost", None),
        (3, "reopened", TALK.id),
        (4, "won", None),
    ]


def test_a_party_is_there_until_it_is_removed_and_others_stay() -> None:
    client, guarantor = (Party(kind="contact", id=ANN, role=role) for role in ("client", "guarantor"))
    other = uuid4()
    opened = recorded(DealOpened(stage=TALK, parties=(client, client)), 1)
    elsewhere = recorded(DealOpened(stage=TALK, parties=(client,)), 9, stream=other)
    added = recorded(PartyAdded(party=guarantor), 2)
    removed = recorded(PartyRemoved(party=client), 3)
    before = rows(DEAL_PARTIES, opened, elsewhere, added)
    assert sorted((row.deal_id, row.role) for row in before.values()) == sorted(
        [(DEAL, "client"), (DEAL, "guarantor"), (other, "client")]
    )
    after = rows(DEAL_PARTIES, opened, elsewhere, added, removed)
    assert {(row.deal_id, row.role) for row in after.values()} == {(DEAL, "guarantor"), (other, "client")}
