"""The record as the `eventsourcing` library's recorders: its interfaces and its own test cases hold on our tables.

Applications of that library share the record as a firm of their own. Their events are appended by the group-commit writer like any
command's; their bytes are theirs, so projections pass over them. An originator is a stream, its version plus one the stream's
version, a topic the type, the state the leaf, a notification id the position.

Stricter than the library asks: within a stream versions only rise; filling a gap afterwards is an `IntegrityError`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, Notification, OperationalError, ProgrammingError, StoredEvent
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresDatastore,
    PostgresRecorder,
    PostgresTrackingRecorder,
)
from psycopg.rows import dict_row
from psycopg.sql import SQL, Literal

from commands.kernel import Made
from infra.database import Database
from infra.ids import uuid7
from infra.record.appender import CHANNEL, Append, Appender, Busy, Conflict, OutcomeUnknown, Unavailable
from infra.record.codec import leaf_hash
from infra.record.reader import FOREIGN

FIRM = UUID("00000000-0000-8000-8000-6576656e7473")  # the firm of all applications of the library
UPSTREAM = "upstream/"  # before an application's name in chancery.projections

_OURS = SQL("firm_id = {0} AND stream_type = {1}").format(Literal(FIRM), Literal(FOREIGN))
_AS_THEIRS = SQL("stream_id AS originator_id, stream_version - 1 AS originator_version, type AS topic, public AS state")


class RecordDatastore(PostgresDatastore):
    """The library's datastore over a database of ours, in the role that appends."""

    def __init__(self, database: Database, *, pool_size: int = 2, max_overflow: int = 10) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", pool_size=pool_size, max_overflow=max_overflow)
        self.pool.conninfo = database.conninfo("record")
        self.pool.kwargs = {"row_factory": dict_row}
        self.schema = "record"


class _Migrated(PostgresRecorder):
    """A recorder whose tables the migrations make."""

    def create_table(self) -> None:
        """Nothing to do."""


class RecordAggregateRecorder(_Migrated, PostgresAggregateRecorder):
    """Streams of events, each version once."""

    def __init__(self, datastore: RecordDatastore, appender: Appender, **kwargs: Any) -> None:
        super().__init__(datastore, events_table_name="events", **kwargs)
        self._appender = appender
        self.select_events_statement = SQL(
            "SELECT * FROM (SELECT {theirs} FROM record.events WHERE {ours}) e WHERE originator_id = %s"
        ).format(theirs=_AS_THEIRS, ours=_OURS)
        self._versions_statement = SQL("SELECT stream_id, version FROM record.streams WHERE {ours} AND stream_id = ANY(%s)").format(
            ours=_OURS
        )

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Append events all or not at all, each stream at the version it stands at."""
        self._append(stored_events)
        return None

    def _append(self, stored_events: Sequence[StoredEvent]) -> Sequence[int] | None:
        if not stored_events:
            return None
        streams = list(dict.fromkeys(_uuid(e.originator_id) for e in stored_events))
        with self.datastore.get_connection() as c:
            stand = {row["stream_id"]: row["version"] for row in c.execute(self._versions_statement, (streams,))}
        expected = {(FOREIGN, stream): stand.get(stream, 0) for stream in streams}
        now = datetime.now(UTC)
        made = []
        for e in stored_events:
            stream, version = _uuid(e.originator_id), e.originator_version + 1
            if version <= stand.get(stream, 0):
                raise IntegrityError(f"{stream} is beyond version {e.originator_version}")
            stand[stream] = version
            made.append(
                Made(
                    stream_type=FOREIGN,
                    stream_id=stream,
                    stream_version=version,
                    event_id=uuid7(),
                    type=e.topic,
                    occurred_at=now,
                    public=e.state,
                    disclosures=(),
                    leaf_hash=leaf_hash(e.state),
                )
            )
        append = Append(
            firm=FIRM,
            command_id=uuid7(),
            body_mac=b"",
            expected=expected,
            events=made,
            sealed=[None] * len(made),
            recorded_at=now,
            answer=b"",
        )
        try:
            last = self._appender.append_now(append).position
        except Conflict as e:
            raise IntegrityError(f"{e.stream_id} was changed by another writer") from e
        except (Busy, Unavailable, OutcomeUnknown) as e:
            raise OperationalError(type(e).__doc__) from e
        return range(last - len(made) + 1, last + 1)


class RecordApplicationRecorder(RecordAggregateRecorder, PostgresApplicationRecorder):
    """The same with the sequence of all events: notification ids are positions. Subscriptions wake by our channel."""

    def __init__(self, datastore: RecordDatastore, appender: Appender, **kwargs: Any) -> None:
        super().__init__(datastore, appender, **kwargs)
        self.channel_name = CHANNEL
        self.max_notification_id_statement = SQL(
            "SELECT (SELECT position FROM record.events WHERE firm_id = {firm} ORDER BY firm_position DESC LIMIT 1) AS max"
        ).format(firm=Literal(FIRM))

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Append events all or not at all; answers their positions."""
        positions = self._append(stored_events)
        return None if positions is None else list(positions)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events in the order of their positions, from `start` to `stop`."""
        after = 0 if start is None else start - 1 if inclusive_of_start else start
        statement = SQL("SELECT position, {theirs} FROM record.events WHERE {ours} AND position > %s").format(
            theirs=_AS_THEIRS, ours=_OURS
        )
        params: list[Any] = [after]
        if stop is not None:
            statement += SQL(" AND position <= %s")
            params.append(stop)
        if topics:
            statement += SQL(" AND type = ANY(%s)")
            params.append(list(topics))
        statement += SQL(" ORDER BY position LIMIT %s")
        params.append(limit)
        with self.datastore.get_connection() as c:
            return [
                Notification(
                    id=row["position"],
                    originator_id=row["originator_id"],
                    originator_version=row["originator_version"],
                    topic=row["topic"],
                    state=bytes(row["state"]),
                )
                for row in c.execute(statement, params, prepare=True)
            ]


class RecordTrackingRecorder(_Migrated, PostgresTrackingRecorder):
    """How far an application has come in each upstream one, in the table of our projections. It only moves on."""

    def __init__(self, datastore: RecordDatastore) -> None:
        super().__init__(datastore)
        name = SQL("{0} || %(application_name)s").format(Literal(UPSTREAM))
        self.insert_tracking_statement = SQL(
            "INSERT INTO chancery.projections AS p (name, version, position) VALUES ({name}, 1, %(notification_id)s)"
            " ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = now() WHERE p.position < excluded.position"
            " RETURNING position AS notification_id"
        ).format(name=name)
        self.max_tracking_id_statement = SQL(
            "SELECT max(position) AS max FROM chancery.projections WHERE name = {0} || %s::text"
        ).format(Literal(UPSTREAM))


def _uuid(originator_id: UUID | str) -> UUID:
    if not isinstance(originator_id, UUID):
        raise ProgrammingError("streams of the record are named by UUIDs")
    return originator_id
