"""Digests of what is published and of the record: equal when everything is published, once and in order."""

import hashlib
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer

from infra.bus.messages import NotAnEvent, decode, key_of
from infra.bus.standing import Unreadable, bounds, read_all
from infra.bus.topics import Found
from infra.database import Database
from infra.record.codec import leaf_hash
from infra.record.reader import FOREIGN

_RECORD = "SELECT firm_id, position, firm_position, public FROM record.events WHERE position <= %s AND stream_type <> %s ORDER BY position"


def of_topic(consumer: Consumer, topic: Found | None) -> str:
    """Over a topic, put together from its messages; None is a topic that there is not."""
    return _digest(_published(consumer, topic) if topic is not None else iter(()))


def of_record(database: Database, until: int | None = None) -> str:
    """Over the record, up to a position."""
    with database.connect("record") as c, c.transaction(), c.cursor("relay_digest") as cursor:
        cursor.itersize = 5_000
        cursor.execute(_RECORD, (2**62 if until is None else until, FOREIGN), binary=True)
        return _digest((key_of(firm), position, place, leaf_hash(public)) for firm, position, place, public in cursor)


def _published(consumer: Consumer, topic: Found) -> Iterator[tuple[bytes, int, int, str]]:
    for message in read_all(consumer, {(topic.name, p): bounds(consumer, topic.name, p) for p in range(topic.partitions)}):
        try:
            event = decode(message.headers(), message.value())
        except NotAnEvent as e:
            raise Unreadable(Unreadable.__doc__) from e
        yield key_of(event.firm), event.position, event.firm_position, leaf_hash(event.leaf)


def _digest(events: Iterator[tuple[bytes, int, int, str]]) -> str:
    """Of each firm's chain; the order among firms does not count, because partitions have none."""
    firms: dict[bytes, Any] = {}
    for firm, position, place, leaf in events:
        chain = firms.get(firm)
        if chain is None:
            chain = firms[firm] = hashlib.sha256()
        chain.update(f"{position} {place} {leaf}\n".encode())
    whole = hashlib.sha256()
    for firm in sorted(firms):
        whole.update(firm + b" " + firms[firm].digest())
    return whole.hexdigest()
