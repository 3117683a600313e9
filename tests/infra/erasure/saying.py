"""A person of whom everything is said that any event can say, with a mark in every text."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from commands.kernel import Actor, Work
from domain.documents.events import DocumentLinked
from domain.hints import bare, personal_mark
from domain.kernel import EVENTS, STREAMS
from infra import registry
from infra.record.bulk import Bulk, Task
from infra.spec import sample_of
from tests.house import House

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


def planted(hint: Any, path: str, mark: str) -> Any:
    """A value of a hint with the mark in every text."""
    hint = bare(hint)
    if hint is str:
        return mark + re.sub(r"[^a-zA-Z]", "", path)
    if get_origin(hint) is tuple:
        return (planted(get_args(hint)[0], f"{path}.item", mark),)
    if get_origin(hint) is dict:
        return {"key": planted(get_args(hint)[1], f"{path}.value", mark)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{f.name: planted(hints[f.name], f"{path}.{f.name}", mark) for f in dataclasses.fields(hint)})
    return sample_of(hint, path)


def of_event(name: str, cls: Any, person: UUID, mark: str) -> Any:
    """An event about the person, with the mark in whatever it says of one; a field of one name says the same in all events."""
    hints = typing.get_type_hints(cls, include_extras=True)
    marks = marked(cls)
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name in marks.values():
            values[f.name] = person
        elif f.name in marks and (name.partition(".")[0], f.name) not in OF_OTHERS:
            values[f.name] = planted(hints[f.name], f"{name}.{f.name}", mark)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            values[f.name] = () if get_origin(bare(hints[f.name])) is tuple else sample_of(hints[f.name], f.name)
    return cls(**values)


def kinds() -> Iterator[tuple[str, str, Any]]:
    """Every event that says something of a contact: its context, name and class."""
    registry.load()
    for name, cls in EVENTS.items():
        context = name.partition(".")[0]
        fields = {f for f in marked(cls) if (context, f) not in OF_OTHERS}
        if fields and context not in OTHERS:
            yield context, name, cls


async def everything_said(house: House, mark: str) -> UUID:
    """Record each of these events once; answers the person. The document about them alone is discarded at last."""
    chancery = house.chancery
    person, document = uuid4(), uuid4()
    sent = await house.client.post("/v1/uploads", content=f"{mark} wrote this".encode())
    apart = {"documents.VersionAdded.v1": {"sha256": sent.json()["sha256"]}}

    async def say(w: Work) -> dict[str, object]:
        for context, name, cls in kinds():
            id = person if context in PEOPLE else document if context == "documents" else uuid5(NAMESPACE_URL, f"{mark}{context}")
            entity = await w.find(STREAMS[STREAM_OF[context]], id)
            event = of_event(name, cls, person, mark)
            more = apart.get(name, {"seq": entity.version + 1} if hasattr(event, "seq") else {})
            w.record(entity, [dataclasses.replace(event, **more)])
            if name == "documents.Added.v1":
                w.record(entity, [DocumentLinked(kind="contact", target=person)])
        return {}

    with Bulk(chancery.database, chancery.vault, firm=house.firm, actor=Actor("system", "test")) as bulk:
        (done,) = bulk.run([Task(run=say)])
    assert done.refused is None
    assert done.failed is None, done.failed
    return person
