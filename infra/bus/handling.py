"""Handling a firm's next events for a group: one transaction, each event in a savepoint of its own, the place moved with them.

CS9   An event that fails is undone alone; what came before it stands, what comes after it waits until it is handled or dead.
CS10  A dead letter is written in the transaction that goes past it: none is lost, none comes twice.
CS11  A database that is away costs no attempt.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, cast
from uuid import UUID

import psycopg
import structlog
from psycopg.errors import IdleInTransactionSessionTimeout
from psycopg.pq import TransactionStatus

from infra.bus import dead_letters, positions
from infra.bus.gaps import Item, Sent, in_order
from infra.bus.metrics import Metrics
from infra.bus.positions import AheadOfStore, Halted, Place
from infra.bus.subscription import Delivered, Reject, Subscription
from infra.record.reader import EventRow, decode, fetch_keys
from infra.record.vault import KeysUnusable, Vault
from projections.kernel import Recorded

log = structlog.get_logger()

BUSY = 0.05  # seconds to leave a firm alone that another consumer works on
TURN = 1.0  # seconds after which another firm gets its turn


@dataclass(frozen=True, slots=True)
class Outcome:
    """`next` is the group's place in the firm now; None when another consumer holds it. `more`: there are events to go on with.
    `wait`: seconds to leave the firm alone."""

    next: int | None
    more: bool = False
    wait: float = 0.0


class _Spoiled(Exception):
    """A handler has left the transaction, or the connection, so that nothing of it can be kept. `first`: no event came before it there."""

    def __init__(self, item: Item, row: EventRow, error: Exception, *, first: bool) -> None:
        super().__init__(item.firm_position)
        self.item = item
        self.row = row
        self.error = error
        self.first = first


class Handling:
    """Hands events of one subscription to its handlers. Threads share it; each brings its own connection."""

    def __init__(self, subscription: Subscription, vault: Vault | None, metrics: Metrics, stop: Event) -> None:
        if subscription.personal and vault is None:
            raise KeysUnusable(
                f"The group {subscription.group} asks for personal values, and there is no keys folder to open them with."
            )
        self._subscription = subscription
        self._vault = vault
        self._metrics = metrics
        self._stop = stop
        self._checked: set[UUID] = set()
        self._owed: dict[UUID, _Spoiled] = {}  # attempts that took the connection with them, to be counted on the next one
        self._owed_letters: dict[UUID, _Spoiled] = {}
        self.group = subscription.group

    def connect(self, connect: Callable[[], psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
        """A connection for a worker, with the subscription's patience."""
        c = connect()
        c.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %(ms)s, false), set_config('statement_timeout', %(ms)s, false)",
            {"ms": f"{int(self._subscription.seconds * 1000)}ms"},
        )
        return c

    def work(self, c: psycopg.Connection[Any], firm: UUID, sent: Sequence[Sent] = ()) -> Outcome:
        """Handle the firm's next events: those that were sent, with what is missing among them; from the store when none were."""
        if firm not in self._checked:
            positions.enroll(c, self.group, firm)
            positions.check_history(c, self.group, firm)
            self._checked.add(firm)
        spoiled = self._owed.pop(firm, None)
        if spoiled is None:
            try:
                with c.transaction():
                    return self._work(c, firm, sent, None)
            except _Spoiled as e:
                if c.closed or c.broken:
                    self._owed[firm] = e
                    raise e.error from e
                spoiled = e
        if spoiled.first:
            return self._account(c, firm, spoiled)
        with c.transaction():  # those before it stand
            return self._work(c, firm, (), spoiled.item.firm_position)

    def _work(self, c: psycopg.Connection[Any], firm: UUID, sent: Sequence[Sent], until: int | None) -> Outcome:
        group = self.group
        place = positions.lock(c, group, firm)
        if place is None:
            positions.check_known(c, firm)
            return Outcome(None, more=True, wait=BUSY)
        furthest = max((s.firm_position for s in sent), default=-1)
        if furthest >= place.head:
            raise AheadOfStore(f"firm {firm}, sent {furthest} of {place.head}")
        if place.wait > 0:
            return Outcome(place.next, more=True, wait=place.wait)
        began = time.monotonic()
        at, attempts, handled, moved = place.next, place.attempts, 0, False
        origin = place.origin
        last: tuple[UUID, int] | None = None
        buried: list[UUID] = []
        for item in in_order(c, self._subscription, firm, at, place.head if until is None else until, sent, self._told):
            if moved and (handled >= self._subscription.batch or self._stop.is_set() or time.monotonic() - began > TURN):
                break
            if item.row is not None:
                error = self._try(c, item, item.row, attempts + 1, again=item.firm_position < place.furthest, first=not moved)
                if error is not None:
                    origin = origin or {"source": item.source, **item.place}
                    pause = self._failed(c, item.row, attempts + 1, error, origin)
                    if pause is not None:
                        if moved:
                            self._move(c, firm, place, at, last, buried)
                        positions.fail(c, group, firm, attempts + 1, pause, type(error).__name__, origin)
                        return Outcome(at, more=True, wait=pause)
                    buried.append(item.row.event_id)
                handled += 1
                last = (item.row.event_id, item.firm_position)
            at, attempts, moved, origin = item.firm_position + 1, 0, True, None
        if moved:
            self._move(c, firm, place, at, last, buried)
        return Outcome(at, more=at < place.head)

    def _move(
        self, c: psycopg.Connection[Any], firm: UUID, was: Place, at: int, last: tuple[UUID, int] | None, buried: list[UUID]
    ) -> None:
        positions.move(c, self.group, firm, at, last)
        if was.next < was.furthest:
            dead_letters.settle(c, self.group, firm, was.next, at, buried)

    def _try(
        self, c: psycopg.Connection[Any], item: Item, row: EventRow, attempt: int, *, again: bool, first: bool
    ) -> Exception | None:
        """Hand an event over; the exception when it failed and was undone alone."""
        handler = self._subscription.handler(row.type, row.stream_type, row.stream_id)
        if handler is None:
            return None
        delivered = Delivered(row, attempt=attempt, again=again, source=item.source, reading=lambda r: self._read(c, r))
        began = time.monotonic()
        try:
            with c.transaction():
                handler(c, delivered)
        except (Halted, KeysUnusable):
            raise
        except Exception as e:  # whatever a handler throws is about this event, not about the consumer
            lost = c.closed or c.broken
            if lost and not isinstance(e, IdleInTransactionSessionTimeout):
                raise  # the database went away, which is no fault of the event
            if lost or c.info.transaction_status != TransactionStatus.INTRANS:
                raise _Spoiled(item, row, e, first=first) from e
            return e
        self._metrics.handled(self.group, item.source, time.monotonic() - began)
        return None

    def _read(self, c: psycopg.Connection[Any], row: EventRow) -> Recorded:
        if self._vault is None or not self._subscription.personal:
            return decode(row._replace(sealed=None), cast("Vault", None), {})  # nothing sealed: the vault is not asked
        return decode(row, self._vault, fetch_keys(c, self._vault, [row]))

    def _failed(
        self, c: psycopg.Connection[Any], row: EventRow, attempts: int, error: Exception, origin: dict[str, Any]
    ) -> float | None:
        """What becomes of an event that failed: seconds to rest, or None when it is a dead letter now."""
        about = {
            "group": self.group,
            "position": row.position,
            "type": row.type,
            "attempts": attempts,
            "error": type(error).__name__,
        }
        if attempts < self._subscription.retry.tries and not isinstance(error, Reject):
            pause = self._subscription.retry.pause(attempts)
            self._metrics.retried(self.group)
            log.warning("bus.retry", **about, seconds=round(pause, 2))
            return pause
        dead_letters.bury(c, self.group, row, attempts, error, origin)
        self._metrics.died(self.group)
        log.error("bus.dead_letter", **about)
        return None

    def _account(self, c: psycopg.Connection[Any], firm: UUID, spoiled: _Spoiled) -> Outcome:
        """Count an attempt for an event whose transaction is gone."""
        item = spoiled.item
        with c.transaction():
            place = positions.lock(c, self.group, firm)
            if place is None:
                self._owed[firm] = spoiled
                return Outcome(None, more=True, wait=BUSY)
            if place.next != item.firm_position:  # another consumer has dealt with it
                return Outcome(place.next, more=place.next < place.head)
            attempts = place.attempts + 1
            origin = place.origin or {"source": item.source, **item.place}
            pause = self._failed(c, spoiled.row, attempts, spoiled.error, origin)
            if pause is not None:
                positions.fail(c, self.group, firm, attempts, pause, type(spoiled.error).__name__, origin)
                return Outcome(place.next, more=True, wait=pause)
            positions.move(c, self.group, firm, place.next + 1, (spoiled.row.event_id, item.firm_position))
            return Outcome(place.next + 1, more=place.next + 1 < place.head)

    # --- dead letters

    def replay(self, c: psycopg.Connection[Any], firm: UUID, event: UUID) -> bool:
        """Hand a dead letter's event over again; False when the firm is busy and it has to be tried later."""
        spoiled = self._owed_letters.pop(event, None)
        if spoiled is None:
            try:
                with c.transaction():
                    return self._replay(c, firm, event, None)
            except _Spoiled as e:
                if c.closed or c.broken:
                    self._owed_letters[event] = e
                    raise e.error from e
                spoiled = e
        with c.transaction():
            return self._replay(c, firm, event, spoiled.error)

    def _replay(self, c: psycopg.Connection[Any], firm: UUID, event: UUID, error: Exception | None) -> bool:
        place = positions.lock(c, self.group, firm)
        if place is None:
            return False
        taken = dead_letters.take(c, self.group, firm, event)
        if taken is None:
            return True
        row = taken.row
        if row.firm_position >= place.next:  # the group was set back: it comes to this event by itself
            dead_letters.take_away(c, self.group, firm, event)
            return True
        if error is None:
            item = Item(row.firm_position, row, "store", {"store": row.position})
            error = self._try(c, item, row, taken.attempts + 1, again=True, first=True)
        if error is None:
            dead_letters.take_away(c, self.group, firm, event)
            log.info("bus.mended", group=self.group, position=row.position, type=row.type)
            return True
        pause = dead_letters.failed_again(c, self.group, taken, error, self._subscription.retry)
        log.warning("bus.failed_again", group=self.group, position=row.position, error=type(error).__name__, dead=pause is None)
        return True

    def _told(self, what: str, count: int) -> None:
        self._metrics.noticed(self.group, what, count)
        if what != "duplicate":
            log.warning("bus.reread", why=what, group=self.group, events=count)
