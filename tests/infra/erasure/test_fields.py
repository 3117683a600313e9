"""A canary in every field that any event may say of a person: they get to see it, and when they are erased it is nowhere."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest

from commands.kernel import Actor, Work
from domain.documents.events import DocumentLinked
from domain.hints import bare, personal_mark
from domain.kernel import EVENTS, STREAMS
from infra import registry
from infra.record.bulk import Bulk, Task
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.spec import sample_of
from tests.house import House
from tests.infra.erasure.test_erasure import beneath, dump, erased, found_in, spellings

CANARY = "Xanthopquil"
STREAM_OF = {
    "contacts": "contact", "consent": "consent", "deals": "deal", "documents": "document", "notes": "note", "privacy": "privacy",
    "projects": "project", "relations": "relation", "tasks": "task",
}  # fmt: skip
OTHERS = {
    "folders",
    "imports",
    "keys",
    "members",
    "organisations",
    "saved_views",
}  # what these say is of members, firms' own things, organisations
OF_OTHERS = {("tasks", "resource")}  # who does a task, under the task's own key
PEOPLE = ("contacts", "consent", "privacy")  # the stream is the person's


def marked(cls: type) -> dict[str, str]:
    """The personal fields of an event, each with the field that names whose they are; empty where it is the stream."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field: mark.subject for field, hint in hints.items() if (mark := personal_mark(hint)) is not None}


def planted(hint: Any, path: str) -> Any:
    """A value of a hint with the canary in every text."""
    hint = bare(hint)
    if hint is str:
        return CANARY + re.sub(r"[^a-zA-Z]", "", path)
    if get_origin(hint) is tuple:
        return (planted(get_args(hint)[0], f"{path}.item"),)
    if get_origin(hint) is dict:
        return {"key": planted(get_args(hint)[1], f"{path}.value")}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{f.name: planted(hints[f.name], f"{path}.{f.name}") for f in dataclasses.fields(hint)})
    return sample_of(hint, path)


def of_event(name: str, cls: Any, person: UUID) -> Any:
    """An event about the person, with the canary in whatever it says of one; a field of one name says the same in all events."""
    hints = typing.get_type_hints(cls, include_extras=True)
    marks = marked(cls)
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name in marks.values():
            values[f.name] = person
        elif f.name in marks and (name.partition(".")[0], f.name) not in OF_OTHERS:
            values[f.name] = planted(hints[f.name], f"{name}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            values[f.name] = () if get_origin(bare(hints[f.name])) is tuple else sample_of(hints[f.name], f.name)
    return cls(**values)


def texts(event: Any) -> set[str]:
    """The texts about a person in an event."""
    return set(re.findall(rf"{CANARY}[a-zA-Z]+", repr(event)))


def says(name: str, cls: Any, field: str) -> bool:
    """Whether a field of that event can hold a text about a person."""
    return CANARY in repr(getattr(of_event(name, cls, UUID(int=0)), field))


def kinds() -> Iterator[tuple[str, str, Any]]:
    """Every event that says something of a contact: its context, name and class."""
    registry.load()
    for name, cls in EVENTS.items():
        context = name.partition(".")[0]
        fields = {f for f in marked(cls) if (context, f) not in OF_OTHERS}
        if fields and context not in OTHERS:
            yield context, name, cls


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
    person, document = uuid4(), uuid4()
    sent = await house.client.post("/v1/uploads", content=f"{CANARY} wrote this".encode())
    apart = {"documents.VersionAdded.v1": {"sha256": sent.json()["sha256"]}}

    async def say(w: Work) -> dict[str, object]:
        for context, name, cls in kinds():
            id = person if context in PEOPLE else document if context == "documents" else uuid5(NAMESPACE_URL, context)
            entity = await w.find(STREAMS[STREAM_OF[context]], id)
            event = of_event(name, cls, person)
            more = apart.get(name, {"seq": entity.version + 1} if hasattr(event, "seq") else {})
            w.record(entity, [dataclasses.replace(event, **more)])
            if name == "documents.Added.v1":
                w.record(entity, [DocumentLinked(kind="contact", target=person)])
        return {}

    with Bulk(chancery.database, chancery.vault, firm=house.firm, actor=Actor("system", "test")) as bulk:
        (done,) = bulk.run([Task(run=say)])
    assert done.refused is None
    assert done.failed is None, done.failed
    told = {
        (name, field)
        for _, name, cls in kinds()
        for field in dataclasses.asdict(of_event(name, cls, person))
        if says(name, cls, field)
    }
    assert opened(house) == told
    await house.settle()
    assert found_in(dump(house), words), "the canary must be there before it can be gone"
    got = await house.client.get(f"/v1/contacts/{person}/personal-data")
    assert got.status_code == 200, got.text
    assert [value for _, name, cls in kinds() for value in texts(of_event(name, cls, person)) if value not in got.text] == []
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
