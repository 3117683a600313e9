"""What every reader hands on: a record with the source row it came from, and what was wrong with it, as values.

A file is refused as a whole only by `FileDefect`; a row never raises. A row that yields no record says so in an error with
`refused=True`; every other error is a doubt: the record was made and the named value was left out, kept beside, or kept as it was.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

SHOWN = 200


class FileDefect(Exception):
    """The file as a whole cannot be read: what was found, why it matters, what to do. Never holds a value of a row."""

    def __init__(self, what: str, why: str, do: str, *, line: int | None = None) -> None:
        super().__init__(what, why, do, line)
        self.what = what
        self.why = why
        self.do = do
        self.line = line

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"{self.what}{where}: {self.why}. {self.do}."


class MapProblem(FileDefect):
    """The import map cannot be used, or does not fit this file."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One thing wrong with one row. `line` counts from 1 (physical line; element number where a file has no lines).

    `value` is what stood there, shortened; it may be personal, so it stays out of `repr` and of logs. `reason` never holds it.
    """

    line: int
    field: str
    value: str = dataclasses.field(repr=False)
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped(Generic[T_co]):
    """One source row (card, trace, table row) after mapping.

    `record` is None when the row was refused (then some error has `refused=True`). `source` is the row as it was, JSON-able, to be
    kept with the import. `line` and `number` say where it stood: physical line, and the count of rows from 1.
    """

    line: int
    number: int
    record: T_co | None = dataclasses.field(repr=False)
    source: Mapping[str, Any] = dataclasses.field(repr=False)
    errors: tuple[RowError, ...] = ()


def shown(value: object) -> str:
    """A value as the report shows it."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def doubt(line: int, name: str, value: object, reason: str) -> RowError:
    return RowError(line, name, shown(value), reason)


def refusal(line: int, name: str, value: object, reason: str) -> RowError:
    return RowError(line, name, shown(value), reason, refused=True)
