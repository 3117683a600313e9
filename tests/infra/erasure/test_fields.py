"""A canary in every field that any event may say of a person: they get to see it, and when they are erased it is nowhere."""

import dataclasses
import re
from typing import Any
from uuid import UUID

import pytest

from domain.kernel import EVENTS
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from tests.house import House
from tests.infra.erasure.saying import OTHERS, everything_said, kinds, marked, of_event
from tests.infra.erasure.test_erasure import beneath, dump, erased, found_in, spellings

CANARY = "Xanthopquil"


def texts(event: Any) -> set[str]:
    """The texts about a person in an event."""
    return set(re.findall(rf"{CANARY}[a-zA-Z]+", repr(event)))


def says(name: str, cls: Any, field: str) -> bool:
    """Whether a field of that event can hold a text about a person."""
    return CANARY in repr(getattr(of_event(name, cls, UUID(int=0), CANARY), field))


def test_every_event_that_says_something_of_a_person_is_tried() -> None:
    tried = {name for _, name, _ in kinds()}
    assert all(any(says(name, cls, field) for field in marked(cls)) for _, name, cls in kinds())
    left = {name.partition(".")[0] for name, cls in EVENTS.items() if marked(cls) and name not in tried}
    assert left - {"tasks"} == OTHERS
    assert len(tried) > 50


@pytest.mark.invariant("ER2")
@pytest.mark.invariant("PO1")
async def test_whatever_an_event_says_of_a_person_is_shown_to_them_and_goes_with_them(house: House) -> None:
    """The document about them was discarded before: what it was called goes all the same."""
    chancery, words = house.chancery, spellings(CANARY)
    person = await everything_said(house, CANARY)
    told = {
        (name, field)
        for _, name, cls in kinds()
        for field in dataclasses.asdict(of_event(name, cls, person, CANARY))
        if says(name, cls, field)
    }
    assert opened(house) == told
    await house.settle()
    assert found_in(dump(house), words), "the canary must be there before it can be gone"
    got = await house.client.get(f"/v1/contacts/{person}/personal-data")
    assert got.status_code == 200, got.text
    assert [
        value for _, name, cls in kinds() for value in texts(of_event(name, cls, person, CANARY)) if value not in got.text
    ] == []
    await erased(house, str(person))
    await house.settle()
    assert opened(house) == set()
    left = dump(house)
    assert [line[:200] for word in found_in(left, words) for line in left.split(b"\n") if word in line][:5] == []
    files = [f for f in beneath(chancery.settings.data) if "postgres" not in f.parts and found_in(f.read_bytes(), words)]
    assert files == []


def opened(house: House) -> set[tuple[str, str]]:
    """Which fields of which events show the canary to whoever has the keys."""
    with house.chancery.database.connect("record") as c, c.cursor(binary=True) as cursor:
        rows = [
            EventRow(*r)
            for r in cursor.execute(f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s", (house.firm,)).fetchall()
        ]
        keys = fetch_keys(c, house.chancery.vault, rows)
        found = set()
        for row in rows:
            event = decode(row, house.chancery.vault, keys).event
            found |= {(row.type, f.name) for f in dataclasses.fields(event) if CANARY in repr(getattr(event, f.name))}
    return found
