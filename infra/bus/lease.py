"""Who may do what only one may do at a time, as PostgreSQL's clock sees it.

A lease says who should work, so that two do not push each other out for ever; it does not protect anything. Whoever slept through
its lease believes to hold it still, so what is protected is protected by fencing as well.
"""

from typing import Any
from uuid import UUID, uuid4

import psycopg

_TAKE = (
    "INSERT INTO chancery.leases AS l (name, holder, renewed_at) VALUES (%s, %s, clock_timestamp()) ON CONFLICT (name) DO UPDATE"
    " SET holder = excluded.holder, renewed_at = excluded.renewed_at"
    " WHERE l.holder = excluded.holder OR l.renewed_at < clock_timestamp() - make_interval(secs => %s) RETURNING true"
)
_SEIZE = (
    "INSERT INTO chancery.leases (name, holder, renewed_at) VALUES (%s, %s, clock_timestamp()) ON CONFLICT (name) DO UPDATE"
    " SET holder = excluded.holder, renewed_at = excluded.renewed_at"
)


class Lease:
    """A name's lease for one holder: this object. Whoever has not renewed it for `seconds` has lost it to the next who asks."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self.holder: UUID = uuid4()

    def take(self, c: psycopg.Connection[Any]) -> bool:
        """Take it, or renew it. False while somebody else has it."""
        return c.execute(_TAKE, (self.name, self.holder, self.seconds)).fetchone() is not None

    def seize(self, c: psycopg.Connection[Any]) -> None:
        """Take it from whoever has it; they find out when they renew."""
        c.execute(_SEIZE, (self.name, self.holder))

    def release(self, c: psycopg.Connection[Any]) -> None:
        """Let the next one have it at once."""
        c.execute("DELETE FROM chancery.leases WHERE name = %s AND holder = %s", (self.name, self.holder))
