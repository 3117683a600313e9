"""Rows of views marked `once` come of one event each, which is why nobody looks for earlier ones of them.

Every story told at a desk (tests/desk.py) and the demo firm (tests/infra/test_demo.py) are heard for it too.
"""

import typing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.kernel import EVENTS, STREAMS, FirmId
from infra.spec import sample_of
from projections.kernel import VIEWS, Recorded, View, of_stream
from tests.once import Once

FIRM = FirmId(UUID(int=7))
STREAM = UUID(int=8)


def samples(cls: type) -> list[Any]:
    """Two events of a class that name the same things."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return [cls(**{f.name: sample_of(hints[f.name], f.name) for f in fields(cls)}) for _ in range(2)]


def recorded(event: Any, name: str, stream_type: str, version: int) -> Recorded:
    at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=version)
    return Recorded(
        position=version,
        firm=FIRM,
        firm_position=version - 1,
        stream_type=stream_type,
        stream_id=STREAM,
        version=version,
        event_id=uuid4(),
        name=name,
        event=event,
        occurred_at=at,
        recorded_at=at,
        actor=f"member/{UUID(int=1)}",
        origin=None,
        command_id="c",
    )


def test_there_are_such_views() -> None:
    assert {name for name, v in VIEWS.items() if v.once} == {"stage_entries", "timeline"}


@pytest.mark.parametrize("stream_type", sorted(STREAMS))
def test_no_two_events_touch_one_row_even_when_they_say_the_same_of_the_same_things(stream_type: str) -> None:
    """Every declared event, all on one stream, each twice."""
    once, version = Once(), 0
    for name, cls in sorted(EVENTS.items()):
        for event in samples(cls):
            version += 1
            once.hear(recorded(event, name, stream_type, version))
    assert once.rows >= version == 2 * len(EVENTS)


def test_a_view_that_is_marked_wrongly_is_found_out() -> None:
    deals = VIEWS["deals"]
    wrong: View[Any] = View(
        name="wrong", version=1, table="views.wrong", row=deals.row, keys=of_stream("deal"), fold=deals.fold, once=True
    )
    once = Once([wrong])
    cls = EVENTS["deals.Opened.v1"]
    once.hear(recorded(samples(cls)[0], "deals.Opened.v1", "deal", 1))
    with pytest.raises(AssertionError, match="touches a row that"):
        once.hear(recorded(samples(cls)[1], "deals.Opened.v1", "deal", 2))


def test_a_row_that_never_comes_to_be_is_found_out() -> None:
    timeline = VIEWS["timeline"]
    wrong: View[Any] = View(
        name="wrong", version=1, table="views.wrong", row=timeline.row, keys=timeline.keys, fold=lambda *_: None, once=True
    )
    cls = EVENTS["deals.Opened.v1"]
    with pytest.raises(AssertionError, match="makes no row"):
        Once([wrong]).hear(recorded(samples(cls)[0], "deals.Opened.v1", "deal", 1))
