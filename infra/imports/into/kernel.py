"""What every kind of record needs on its way into the record: where it goes, what it was before, by which names it is found again."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import UUID

import psycopg

from commands.kernel import Work
from domain.kernel import FirmId, Refused, Stream
from infra.erasure.addresses import any_suppressed
from infra.imports.rows import Mapped, RowError, doubt
from infra.record.vault import Vault

Outcome = Literal["created", "changed", "unchanged", "rejected"]
Read = tuple[Stream[Any, Any], UUID]

NAMES_KEPT = 50_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class RowUnusable(Refused):
    """The row can't be carried as it is."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    @property
    def why(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The same source row as it was carried last. `row` opens it: None when it was erased."""

    import_id: UUID
    digest: bytes | None
    undone: bool
    row: Callable[[], Mapping[str, Any] | None]


@dataclass(slots=True)
class Carrying:
    """One row being carried: what is to be said about it is added to `issues`."""

    line: int
    prior: Prior | None = None
    issues: list[RowError] = field(default_factory=list)
    edited: frozenset[str] = frozenset()

    @property
    def undone(self) -> bool:
        """Whether the record was made by an import that has been undone: then it is taken out of the archive again."""
        return self.prior is not None and self.prior.undone

    def stays(self, name: str, before: object, now: object) -> bool:
        """Whether somebody changed this field of the record since it was imported, and the row would change it: then it stays."""
        if name not in self.edited or before == now:
            return False
        self.doubt(
            name, "", "somebody changed it here since it was imported; their value stays. Import with --overwrite to replace it"
        )
        return True

    def doubt(self, name: str, value: object, reason: str) -> None:
        self.issues.append(doubt(self.line, name, value, reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """Where a row goes. `source_key` identifies the row in its source; `subject` is whose data key seals the kept row.

    `run` loads, decides and records; it may be run again, and answers what it did. `rests_on` is what else than the row itself
    decides its meaning: the digest covers it.
    """

    stream: Stream[Any, Any]
    id: UUID
    source_key: UUID
    subject: UUID
    run: Callable[[Work, Carrying], Awaitable[Outcome]]
    reads: Sequence[Read] = ()
    rests_on: str = ""


class Carrier(Protocol):
    """How one kind of record is carried."""

    @property
    def notes(self) -> Sequence[str]:
        """What is to be said of the import as a whole."""
        ...

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        """Commands to carry out before the rows; each may be run again, in this import or a later one, and then changes nothing."""
        ...

    def names(self, row: Mapped[Any], /) -> Iterable[UUID]:
        """Keys of names that `place` will ask for."""
        ...

    def place(self, row: Mapped[Any]) -> Carry: ...


def taken(row: Mapped[Any]) -> Any:
    """The record of a row that has one."""
    return row.record


class Names:
    """Under which names records are found again: the name of an organisation, the address of a person, the key of a task.

    Rows are looked up in chunks (`fetch`); a claim is written before the commands that rest on it. A name that leads to a record
    that never came to be is harmless: it says under which id it would be created.
    """

    def __init__(self, connection: psycopg.Connection[Any], vault: Vault, firm: FirmId) -> None:
        self._c = connection
        self._vault = vault
        self._firm = firm
        self._known: dict[UUID, tuple[UUID, UUID | None]] = {}
        self._claims: dict[UUID, tuple[UUID, UUID | None]] = {}
        self._nobody_erased: bool | None = None

    def key(self, kind: str, name: str) -> UUID:
        return self._vault.derive_id(self._firm, "import-name", kind, folded(name))

    def id(self, kind: str, *parts: str) -> UUID:
        """The id of a record of this kind that these parts identify."""
        return self._vault.derive_id(self._firm, "import", kind, *parts)

    def fetch(self, keys: Iterable[UUID]) -> None:
        wanted = [k for k in dict.fromkeys(keys) if k not in self._known]
        if len(self._known) + len(wanted) > NAMES_KEPT:
            self.flush()
            self._known.clear()
            wanted = list(dict.fromkeys(keys))
        if wanted:
            found = self._c.execute(
                "SELECT name_key, stream_id, claimed_by FROM chancery.import_names WHERE firm_id = %s AND name_key = ANY(%s)",
                (self._firm, wanted),
            )
            self._known.update({k: (i, by) for k, i, by in found})

    def find(self, key: UUID) -> tuple[UUID, UUID | None] | None:
        return self._known.get(key)

    def erased(self, addresses: Iterable[str]) -> bool:
        """Whether one of these addresses was that of a person who was erased and is not imported again."""
        if self._nobody_erased is None:
            found = self._c.execute(
                "SELECT FROM chancery.suppressed_addresses WHERE firm_id = %s LIMIT 1", (self._firm,)
            ).fetchone()
            self._nobody_erased = found is None
        return not self._nobody_erased and any_suppressed(self._c, self._vault, self._firm, addresses)

    def claim(self, key: UUID, id: UUID, by: UUID | None = None) -> None:
        if self._known.get(key) != (id, by):
            self._known[key] = self._claims[key] = (id, by)

    def flush(self) -> None:
        """Write the claims; a rival's that came first stands, unless nobody owned the name."""
        if not self._claims:
            return
        keys = list(self._claims)
        self._c.execute(
            "INSERT INTO chancery.import_names (firm_id, name_key, stream_id, claimed_by)"
            " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) ON CONFLICT (firm_id, name_key)"
            " DO UPDATE SET claimed_by = excluded.claimed_by WHERE import_names.claimed_by IS NULL",
            (self._firm, keys, [self._claims[k][0] for k in keys], [self._claims[k][1] for k in keys]),
        )
        self._claims.clear()


def folded(name: str) -> str:
    """The form in which two spellings of a name are one."""
    return " ".join(name.split()).casefold()


def slug(name: str, most: int = 40) -> str:
    """A key made of a name: `Year established` gives `year_established`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")[:most].strip("_")
    return plain if plain[:1].isalpha() else f"f_{plain}"[:most].strip("_") if plain else "field"


def line_of(text: str | None, most: int) -> str | None:
    """Text as one clean line, at most so long; None when nothing is left."""
    if text is None:
        return None
    return " ".join(_CONTROL.sub(" ", text).split())[:most].strip() or None


def text_of(text: str | None, most: int) -> str | None:
    """Text without control characters but with its line breaks, at most so long."""
    if text is None:
        return None
    return _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))[:most].strip() or None
