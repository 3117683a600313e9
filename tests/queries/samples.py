"""Two small collections of their own, with every kind of field, and the tables that hold them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from domain.kernel import FirmId, Personal
from projections.kernel import View, of_stream
from queries.kernel import COLLECTIONS, Collection, collection
from queries.listing import RELATIONS, Relation, relation

ShelfId = NewType("ShelfId", UUID)
FIRM, OTHER_FIRM = FirmId(UUID(int=1)), FirmId(UUID(int=2))


class Mood(StrEnum):
    glad = "glad"
    sad = "sad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    address: Annotated[str, Personal()]
    use: Literal["work", "home"] = "work"
    first: bool = False
    since: date | None = None
    seen_at: datetime | None = None
    weight: Decimal | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    id: UUID
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    kind: Literal["text", "number", "day", "flag", "choices"]
    text: str | None = None
    number: Decimal | None = None
    day: date | None = None
    flag: bool | None = None
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    name: str
    rank: int | None = None
    mood: Mood | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    title: str
    owner_name: Annotated[str | None, Personal()] = None
    amount: Decimal | None = None
    count: int | None = None
    done: bool | None = None
    due: date | None = None
    closed_at: datetime | None = None
    kind: Literal["open", "won", "lost"] | None = None
    shelf: ShelfId | None = None
    tags: tuple[str, ...] = ()
    owners: tuple[UUID, ...] = ()
    mails: tuple[Mail, ...] = ()
    first_mail: Mail | None = None
    parts: tuple[Part, ...] = ()
    custom: dict[str, str] = None  # type: ignore[assignment]
    answers: dict[str, Answer] = None  # type: ignore[assignment]
    extra: dict[str, str | int | Decimal | bool] = None  # type: ignore[assignment]


_WAYS = (
    Relation("shelf", "test_shelves", "shelf"),
    Relation("watchers", "test_shelves", "owners", many=True),
    Relation("owners", "test_shelves", "owners", many=True),
    Relation("places", "test_shelves", "parts.id", many=True),
)
_BACK = (
    Relation("samples", "test_samples", "id", "shelf", many=True),
    Relation("watched", "test_samples", "id", "owners", many=True),
    Relation("places", "test_samples", "id", "parts.id", many=True),
)


def _view(name: str, row: type[Any]) -> View[Any]:
    return View(name=name, version=1, table=f"views.{name}", row=row, keys=of_stream(name), fold=lambda row, _key, _r: row)


SAMPLES = Collection(
    name="test_samples",
    view=_view("test_samples", Sample),
    stream=None,
    permission="samples:read",
    title="Samples",
    order="-created_at",
    search=("title", "tags", "mails.address", "shelf.name", "count"),
)
SHELVES = Collection(
    name="test_shelves",
    view=_view("test_shelves", Shelf),
    stream=None,
    permission="shelves:read",
    title="Shelves",
    order="name",
    search=("name",),
)


@contextmanager
def declared() -> Iterator[None]:
    """The registries hold these two collections and nothing else, until the block ends."""
    collections, relations = dict(COLLECTIONS), dict(RELATIONS)
    COLLECTIONS.clear()
    RELATIONS.clear()
    collection(SAMPLES)
    collection(SHELVES)
    for r in _WAYS:
        relation("test_samples", r)
    for r in _BACK:
        relation("test_shelves", r)
    try:
        yield
    finally:
        COLLECTIONS.clear()
        RELATIONS.clear()
        COLLECTIONS.update(collections)
        RELATIONS.update(relations)


TABLES = """
CREATE SCHEMA views;
CREATE TABLE views.test_shelves (firm_id uuid NOT NULL, id uuid NOT NULL, version bigint NOT NULL, created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL, position bigint NOT NULL, name text NOT NULL, rank bigint, mood text, PRIMARY KEY (firm_id, id));
CREATE TABLE views.test_samples (firm_id uuid NOT NULL, id uuid NOT NULL, version bigint NOT NULL, created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL, position bigint NOT NULL, title text NOT NULL, owner_name text, amount numeric, count bigint,
  done boolean, due date, closed_at timestamptz, kind text, shelf uuid, tags text[] NOT NULL, owners uuid[] NOT NULL,
  mails jsonb NOT NULL, first_mail jsonb, parts jsonb NOT NULL, custom jsonb, answers jsonb, extra jsonb, PRIMARY KEY (firm_id, id));
"""
_JSON = {"mails", "first_mail", "parts", "custom", "answers", "extra"}


def insert(db: psycopg.Connection[Any], c: Collection, rows: list[dict[str, Any]]) -> None:
    """Rows as dictionaries of Python values; what is not given is missing."""
    if not rows:
        return
    names = ["firm_id", "id", "version", "created_at", "updated_at", "position", *(f.name for f in fields(c.view.row))]
    sql = f"INSERT INTO {c.view.table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
    with db.cursor() as cursor:
        cursor.executemany(sql, [[_stored(n, row.get(n)) for n in names] for row in rows])


def _stored(name: str, value: Any) -> Any:
    return Jsonb(_json(value)) if name in _JSON and value is not None else value


def _json(value: Any) -> Any:
    """As a row's parts are stored: what is None is left out, what JSON lacks is text."""
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, UUID | Decimal | date | datetime):
        return value.isoformat() if isinstance(value, date) else str(value)
    return value
