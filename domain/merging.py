"""Merging: how two records of one thing become one, and two again.

A record is seen as a flat mapping of field to value: a tuple is a list of entries, anything else is one value. Pure and total, so
that a decision, an `evolve` and a view may use it alike. What it means for people is said in `domain/contacts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from domain.people import Address, Email, FieldValue, Link, P, Phone, Profiled, said

MERGES = 100  # records that one record may absorb

Flat = Mapping[str, Any]


def take_over(mine: Flat, theirs: Flat) -> dict[str, Any]:
    """What a record gains by absorbing another: values it lacks, and entries it does not list. No entry comes as primary."""
    taken: dict[str, Any] = {}
    for name, value in theirs.items():
        if isinstance(value, tuple):
            known = {identity(entry) for entry in mine.get(name) or ()}
            entries = tuple(_secondary(entry) for entry in value if identity(entry) not in known)
            if entries:
                taken[name] = entries
        elif value is not None and mine.get(name) is None:
            taken[name] = value
    return taken


def add(mine: Flat, taken: Flat) -> dict[str, Any]:
    """The record with what it took over."""
    return {**mine, **{name: (mine.get(name) or ()) + v if isinstance(v, tuple) else v for name, v in taken.items()}}


def give_back(mine: Flat, taken: Flat, remaining: Sequence[Flat] = ()) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record without what it took over and did not change since.

    Where another absorbed record offers the same value or entry (`remaining`, in the order they were absorbed) that one's takes the
    place, as if the parted record had never been merged. The second answer says what each of them gained by it.
    """
    after = dict(mine)
    freed: dict[str, set[object]] = {}
    for name, value in taken.items():
        have = mine.get(name)
        if isinstance(value, tuple):
            gone = tuple(entry for entry in value if entry in (have or ()))
            after[name] = tuple(entry for entry in have or () if entry not in gone) or None
            freed[name] = {identity(entry) for entry in gone}
        elif have == value:
            after[name] = None
            freed[name] = set()
    gains = []
    for theirs in remaining:
        gain = {}
        for name, value in take_over(after, {n: v for n, v in theirs.items() if n in freed}).items():
            entries = tuple(e for e in value if identity(e) in freed[name]) if isinstance(value, tuple) else value
            if entries != ():
                gain[name] = entries
        after = add(after, gain)
        gains.append(gain)
    return {name: value for name, value in after.items() if value is not None and value != ()}, gains


def identity(entry: object) -> object:
    """What makes two entries of a list the same, whatever their labels."""
    match entry:
        case Email():
            return entry.address.casefold()
        case Phone():
            return (entry.number or entry.raw, entry.extension)
        case Address():
            return replace(entry, label=None, primary=False)
        case Link():
            return entry.url
        case str():
            return entry.casefold()
        case _:
            return entry


def _secondary(entry: Any) -> Any:
    return replace(entry, primary=False) if isinstance(entry, Email | Phone | Address) else entry


@dataclass(frozen=True, slots=True)
class Together:
    """Fields that only make sense together (the parts of a name): merged and parted as one value."""

    values: tuple[tuple[str, object], ...]


Groups = Mapping[str, tuple[str, ...]]


def flat(
    profile: Profiled, *, tags: tuple[str, ...], custom: Mapping[str, FieldValue], owner: UUID | None, groups: Groups
) -> dict[str, Any]:
    """A record as one flat mapping, for merging. `groups` names fields that stay together."""
    values = said(profile)
    for group, names in groups.items():
        if parts := tuple((name, values.pop(name)) for name in names if name in values):
            values[f"group.{group}"] = Together(parts)
    values |= {f"custom.{key}": value for key, value in custom.items()}
    if tags:
        values["tags"] = tags
    if owner is not None:
        values["owner"] = owner
    return values


def unflat(values: Flat, kind: type[P]) -> tuple[P, tuple[str, ...], dict[str, FieldValue], UUID | None]:
    """The inverse of `flat`: profile, tags, custom values, owner."""
    profile: dict[str, Any] = {}
    custom: dict[str, FieldValue] = {}
    for name, value in values.items():
        if isinstance(value, Together):
            profile |= dict(value.values)
        elif name.startswith("custom."):
            custom[name.removeprefix("custom.")] = value
        elif name not in {"tags", "owner"}:
            profile[name] = value
    return kind(**profile), values.get("tags") or (), custom, values.get("owner")


# --- merges of one record


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorption:
    """What one merge brought."""

    other: UUID
    through: tuple[UUID, ...] = ()
    offered: Flat = field(default_factory=dict)
    taken: Flat = field(default_factory=dict)


def parted(mine: Flat, absorptions: tuple[Absorption, ...], other: UUID) -> tuple[dict[str, Any], tuple[Absorption, ...]]:
    """What a record holds without `other`, and the merges that remain, each with what it gained by the parting."""
    remaining = tuple(a for a in absorptions if a.other != other)
    after, gains = dict(mine), [dict[str, Any]() for _ in remaining]
    for gone in absorptions:
        if gone.other == other:
            after, gains = give_back(after, gone.taken, [a.offered for a in remaining])
    return after, tuple(replace(a, taken=add(a.taken, gain)) for a, gain in zip(remaining, gains, strict=True))
