"""Which fields a caller asked for, and which of them they may see."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from queries.listing.fields import Field, Kind
from queries.listing.resolve import SEES_PERSONAL
from queries.listing.values import unknown_field
from queries.unusable import Unusable

Tree: TypeAlias = dict[str, "Tree"]

MAX_FIELDS = 100
MAX_LENGTH = 4_000


class FieldsUnusable(Unusable):
    """The selection of fields can't be used."""


def selection(fields: Mapping[str, Field], asked: str) -> Tree:
    """`id, title, emails.address` as a tree; an empty tree below a name means all of it.

    Nothing or `*` means everything; the id is always there.
    """
    if len(asked) > MAX_LENGTH:
        raise FieldsUnusable(f"fields has {len(asked)} characters; {MAX_LENGTH} are allowed.", limit=MAX_LENGTH)
    paths = [p.strip() for p in asked.split(",")] if asked.strip() else ["*"]
    if len(paths) > MAX_FIELDS:
        raise FieldsUnusable(f"It names {len(paths)} fields; {MAX_FIELDS} are allowed.", limit=MAX_FIELDS)
    if "*" in paths:
        return {name: {} for name in fields}
    tree: Tree = {"id": {}}
    for path in paths:
        if not path:
            raise FieldsUnusable("Write names with commas between them: id,title,emails.address.")
        _check(fields, path)
        names = path.split(".")
        here = tree
        for i, name in enumerate(names):
            if name in here and not here[name]:
                break  # all of it is asked for already
            here = here.setdefault(name, {})
            if i == len(names) - 1:
                here.clear()
    return tree


def _check(fields: Mapping[str, Field], path: str) -> None:
    parts: Mapping[str, Field] = fields
    seen: list[str] = []
    f: Field | None = None
    for name in path.split("."):
        while f is not None and f.kind is Kind.many:
            f = f.each
        if f is not None and f.kind in {Kind.keyed, Kind.loose} and name:
            f = f.each
        else:
            parts = fields if f is None and not seen else f.parts if f is not None else {}
            if name not in parts:
                raise unknown_field(name, list(parts), within=".".join(seen) or "fields")
            f = parts[name]
        seen.append(name)


def prune(value: Any, tree: Tree) -> Any:
    """The value with only the parts of the tree."""
    if not tree or value is None:
        return value
    if isinstance(value, Mapping):
        return {name: prune(value[name], below) if below else value[name] for name, below in tree.items() if name in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [prune(v, tree) for v in value]
    return value


def mask(row: Mapping[str, Any], personal_fields: Sequence[str], permissions: frozenset[str]) -> dict[str, Any]:
    """The row as this caller may see it: personal values are null and `masked` names them, whether or not there was a value."""
    seen = dict(row)
    if SEES_PERSONAL in permissions:
        return seen
    masked: list[str] = []
    for path in personal_fields:
        name, _, rest = path.partition(".")
        if name not in seen:
            continue
        seen[name], hidden = _without(seen[name], rest.split(".") if rest else [])
        if hidden:
            masked.append(path)
    if masked:
        seen["masked"] = masked
    return seen


def _without(value: Any, names: list[str]) -> tuple[Any, bool]:
    """A copy of the value in which what the names lead to is null, and whether they led anywhere."""
    if not names:
        return None, True
    if isinstance(value, Mapping):
        if names[0] in value:
            inner, hidden = _without(value[names[0]], names[1:])
            return ({**value, names[0]: inner}, True) if hidden else (value, False)
        # named values: what is personal is a part of each of them
        pairs = {k: _without(v, names) if isinstance(v, Mapping | list | tuple) else (v, False) for k, v in value.items()}
        return {k: v for k, (v, _) in pairs.items()}, any(h for _, h in pairs.values())
    if isinstance(value, list | tuple):
        inners = [_without(v, names) for v in value]
        return [v for v, _ in inners], any(h for _, h in inners)
    return value, False
