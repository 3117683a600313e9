"""What people changed of what an import had carried: a row that is imported again must not overwrite it.

A field is a person's from the moment somebody else than an import changes it after the record's first import, until an import is told to
overwrite it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from commands.undo import differing, paths
from domain.kernel import STREAMS, FirmId
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault

IMPORTED = b'"origin":"import/'
WITHIN = frozenset({"profile", "custom", "attributes"})  # parts of a state whose fields count one by one

EDITED = (
    "SELECT stream_id FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s) GROUP BY stream_id"
    " HAVING max(stream_version) FILTER (WHERE position(%s::bytea IN public) = 0)"
    " > min(stream_version) FILTER (WHERE position(%s::bytea IN public) > 0)"
)
EVENTS = f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s) ORDER BY stream_type, stream_id, stream_version"


class Edited:
    """Answers, for records that an import is about to amend, the fields that are a person's."""

    def __init__(self, connection: psycopg.Connection[Any], vault: Vault, firm: FirmId) -> None:
        self._c = connection
        self._vault = vault
        self._firm = firm

    def of(self, streams: Sequence[tuple[str, UUID]]) -> dict[UUID, frozenset[str]]:
        """By record: names of fields (`job_title`, `custom.region`, `owner`); nothing for records that nobody changed."""
        if not streams:
            return {}
        types = {id: type for type, id in streams}
        touched = [i for (i,) in self._c.execute(EDITED, (self._firm, list(types), IMPORTED, IMPORTED)).fetchall()]
        found: dict[UUID, frozenset[str]] = {}
        for id in touched:
            cursor = self._c.execute(EVENTS, (self._firm, [id]), binary=True)
            rows = [row for r in cursor.fetchall() if (row := EventRow(*r)).stream_type == types[id]]
            found[id] = self._fields(rows)
        return found

    def _fields(self, rows: Sequence[EventRow]) -> frozenset[str]:
        keys = fetch_keys(self._c, self._vault, rows)
        stream = STREAMS[rows[0].stream_type]
        state, imported = stream.initial, False
        theirs: set[str] = set()
        for row in rows:
            after = stream.evolve(state, decode(row, self._vault, keys).event)
            changed = {named(path) for path in differing(paths(state, frozenset()), paths(after, frozenset()))}
            state = after
            if IMPORTED in row.public:
                imported = True
                theirs -= changed
            elif imported:
                theirs |= changed
        return frozenset(theirs)


def named(path: Sequence[object]) -> str:
    """A place of a state as a field is called."""
    if path[0] not in WITHIN or len(path) < 2:
        return str(path[0])
    return str(path[1]) if path[0] == "profile" else f"{path[0]}.{path[1]}"
