"""The history of one thing: who changed what, when and why, with every field's value before and after."""

import dataclasses
import typing
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg

from domain.hints import personal_mark
from domain.kernel import FirmId
from infra.record.codec import json_codec
from infra.record.reader import read_stream_rows
from infra.record.vault import Vault
from projections.kernel import View
from queries.listing.fields import is_hidden


class _Shape:
    """How the fields of a view's row look as JSON."""

    def __init__(self, row: type) -> None:
        hints = typing.get_type_hints(row, include_extras=True)
        self.fields = [
            (f.name, json_codec(hints[f.name])[0], personal_mark(hints[f.name]) is not None)
            for f in dataclasses.fields(row)
            if not is_hidden(hints[f.name])
        ]

    def values(self, row: Any) -> dict[str, Any]:
        if row is None:
            return {}
        return {name: None if (v := getattr(row, name)) is None else encode(v) for name, encode, _ in self.fields}


_SHAPES: dict[type, _Shape] = {}


def shape_of(row: type) -> _Shape:
    """How the rows of a view look as JSON."""
    shape = _SHAPES.get(row)
    if shape is None:
        shape = _SHAPES[row] = _Shape(row)
    return shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where to read: the stream behind a row of a view."""

    firm: FirmId
    view: View[Any]
    stream_type: str
    stream_id: UUID
    id: UUID


async def history(
    c: psycopg.AsyncConnection[Any], vault: Vault, source: Source, *, personal: bool
) -> AsyncIterator[Mapping[str, Any]]:
    """Each event of the row's stream in order, with the fields of the row that it changed; of a row that lies inside another record, those
    events alone that touched it.

    Values of personal fields are withheld (`"masked": true`) from callers who may not see them.
    """
    view, id = source.view, source.id
    shape = shape_of(view.row)
    row = None
    before: dict[str, Any] = {}
    async for stored, recorded in read_stream_rows(c, vault, source.firm, source.stream_type, source.stream_id):
        if id in view.keys(recorded):
            row = view.fold(row, id, recorded)
        elif id != source.stream_id:
            continue
        after = shape.values(row)
        changes: list[dict[str, Any]] = []
        for name, _, marked in shape.fields:
            old, new = before.get(name), after.get(name)
            if old != new:
                changes.append(
                    {"field": name, "masked": True} if marked and not personal else {"field": name, "old": old, "new": new}
                )
        leaf = orjson.loads(stored.public)
        yield {
            "version": recorded.version,
            "position": recorded.position,
            "event_id": recorded.event_id,
            "type": recorded.name,
            "occurred_at": recorded.occurred_at,
            "recorded_at": recorded.recorded_at,
            "actor": recorded.actor,
            "origin": recorded.origin,
            "command_id": recorded.command_id,
            "correlation_id": leaf.get("correlationid"),
            "causation_id": leaf.get("causationid"),
            "changes": changes,
        }
        before = after
