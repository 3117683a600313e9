"""The `eventsourcing` library's own test cases, on the record."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError, ProgrammingError, StoredEvent
from eventsourcing.tests import persistence as library

from infra.database import Database
from infra.record.appender import Appender
from infra.record.recorder import (
    RecordAggregateRecorder,
    RecordApplicationRecorder,
    RecordDatastore,
    RecordTrackingRecorder,
)


class _OnTheRecord:
    datastore: RecordDatastore
    appender: Appender

    @pytest.fixture(autouse=True)
    def _parts(self, fresh: Database, appender: Appender) -> Iterator[None]:
        self.appender = appender
        self.datastore = RecordDatastore(fresh)
        yield
        self.datastore.close()


class TestAggregateRecorder(_OnTheRecord, library.AggregateRecorderTestCase):
    def create_recorder(self) -> RecordAggregateRecorder:
        return RecordAggregateRecorder(self.datastore, self.appender)


class TestApplicationRecorder(_OnTheRecord, library.ApplicationRecorderTestCase[RecordApplicationRecorder]):
    def create_recorder(self) -> RecordApplicationRecorder:
        return RecordApplicationRecorder(self.datastore, self.appender)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_versions_of_a_stream_only_rise(self) -> None:
        recorder = self.create_recorder()
        stream = uuid4()
        recorder.insert_events([StoredEvent(stream, 5, "topic", b"state")])
        with pytest.raises(IntegrityError):
            recorder.insert_events([StoredEvent(stream, 4, "topic", b"state")])
        assert [e.originator_version for e in recorder.select_events(stream)] == [5]

    def test_a_stream_is_named_by_a_uuid(self) -> None:
        with pytest.raises(ProgrammingError):
            self.create_recorder().insert_events([StoredEvent("account-1", 1, "topic", b"state")])


class TestTrackingRecorder(_OnTheRecord, library.TrackingRecorderTestCase):
    def create_recorder(self) -> RecordTrackingRecorder:
        return RecordTrackingRecorder(self.datastore)


class TestNonInterleavingNotificationIDs(_OnTheRecord, library.NonInterleavingNotificationIDsBaseCase):
    insert_num = 1_000

    def create_recorder(self) -> RecordApplicationRecorder:
        return RecordApplicationRecorder(self.datastore, self.appender)
