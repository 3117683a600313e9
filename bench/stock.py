"""The stock projection runner of `eventsourcing`, keeping a table of deals as ours does: a row a deal, with its place in one transaction."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from bench.place import NOTE, Place

EVENTS, DEALS = 600, 32


class Deal(Aggregate):
    @event("Opened")
    def __init__(self, title: str) -> None:
        self.title = title
        self.notes = 0

    @event("Noted")
    def say(self, note: str) -> None:
        self.notes += 1
        self.last = note


class Deals(Application[UUID]):
    name = "stock_deals"


class Table(PostgresTrackingRecorder):
    """A row of a deal and the position, written together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        schema = self.datastore.schema
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS {}.deals (id uuid PRIMARY KEY, title text, notes bigint NOT NULL, note text)").format(
                Identifier(schema)
            )
        )
        self._upsert = SQL(
            "INSERT INTO {}.deals AS d VALUES (%s, %s, 0, %s) ON CONFLICT (id) DO UPDATE SET notes = d.notes + 1, note = excluded.note"
        ).format(Identifier(schema))

    def write(self, id: UUID, title: str | None, note: str | None, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._upsert, (id, title, note), prepare=True)


class Keeping(Projection[Table]):
    name = "stock_keeping"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.write(
            domain_event.originator_id, getattr(domain_event, "title", None), getattr(domain_event, "note", None), tracking
        )


def runner(p: Place) -> Callable[[], float]:
    """Events a second from the first event to the last, with as many new ones each time."""
    where = conninfo_to_dict(p.conninfo)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(where["dbname"]),
        "POSTGRES_HOST": str(where["host"]),
        "POSTGRES_PORT": str(where.get("port", 5432)),
        "POSTGRES_USER": str(where["user"]),
        "POSTGRES_PASSWORD": str(where.get("password") or "none"),
    }

    def run() -> float:
        made = {**env, "POSTGRES_SCHEMA": f"stock_{uuid4().hex[:8]}"}
        p.run(f"CREATE SCHEMA {made['POSTGRES_SCHEMA']}")
        with Deals(made) as deals:
            for n in range(DEALS):
                deal = Deal(f"Mandate {n}")
                for _ in range(EVENTS // DEALS):
                    deal.say(NOTE)
                last = deals.save(deal)[-1]
        started = time.perf_counter()
        with ProjectionRunner(application_class=Deals, projection_class=Keeping, view_class=Table, env=made) as projecting:
            projecting.wait(last.notification.id, timeout=120)
        return last.notification.id / (time.perf_counter() - started)

    return run
