"""What views do to rows a million times over, done fast: a row with some fields changed, and the id of a row that is derived from others."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from hashlib import sha1
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, SafeUUID

from projections.kernel import Recorded

Said = TypeVar("Said")
__all__ = ["derived", "remembered", "replace"]
REMEMBERED = 12_288  # events: more than are folded at a time

_make = object.__new__
_set = object.__setattr__
_TWINS: dict[type, Any] = {}
_COPIERS: dict[tuple[Any, ...], Callable[..., Any]] = {}


def _replace(row: Any, /, **changes: Any) -> Any:
    """The row with these fields changed: `dataclasses.replace` for slotted dataclasses that do nothing when they are made."""
    kind = (type(row), *changes)
    copier = _COPIERS.get(kind)
    if copier is None:
        copier = _COPIERS[kind] = _copier(type(row), *changes)
    return copier(row, *changes.values())


if TYPE_CHECKING:
    from dataclasses import replace  # whose names and types of fields are checked
else:
    replace = _replace


def _copier(cls: Any, *changed: str) -> Callable[..., Any]:
    """A function of a row and of the changed values, one assignment a field.

    A frozen class lets nobody assign: what is made is a twin of the same layout that does, and only then of the class.
    """
    names = [f.name for f in dataclasses.fields(cls)]
    if hasattr(cls, "__post_init__") or cls.__dictoffset__:
        raise TypeError(f"{cls.__name__} is no plain slotted row")
    if strange := set(changed) - set(names):
        raise KeyError(*strange)
    twin = _TWINS.get(cls)
    if twin is None:
        twin = _TWINS[cls] = type(cls.__name__, cls.__bases__, {"__slots__": cls.__slots__, "__setattr__": object.__setattr__})
    assigned = [f" new.{n} = _{n}" if n in changed else f" new.{n} = row.{n}" for n in names]
    given = ", ".join(["row", *(f"_{n}" for n in changed)])
    lines = [f"def copy({given}):", " new = twin()", *assigned, " new.__class__ = cls", " return new"]
    made: dict[str, Any] = {"twin": twin, "cls": cls}
    exec("\n".join(lines), made)  # noqa: S102 # nosec B102 - of the names of fields alone, as dataclasses does
    return made["copy"]  # type: ignore[no-any-return]


_VERSION = 5 << 76
_VARIANT = 2 << 62
_KEPT = ~(0xF << 76) & ~(3 << 62)


def derived(namespace: UUID, name: str) -> UUID:
    """`uuid.uuid5`."""
    number = int.from_bytes(sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16], "big")
    made = _make(UUID)
    _set(made, "int", number & _KEPT | _VERSION | _VARIANT)
    _set(made, "is_safe", SafeUUID.unknown)
    return made


def remembered(f: Callable[[Recorded], Said]) -> Callable[[Recorded], Said]:
    """Of what a function says of an event, the last few thousand answers: a view names an event's rows first and then folds each."""
    answers: dict[int, tuple[Recorded, Said]] = {}

    @wraps(f)
    def asked(r: Recorded) -> Said:
        known = answers.get(id(r))
        if known is not None and known[0] is r:
            return known[1]
        said = f(r)
        if len(answers) >= REMEMBERED:
            answers.clear()
        answers[id(r)] = (r, said)
        return said

    return asked
