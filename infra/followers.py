"""What follows the record beside the views: the search index, the graph in an engine of its own, the relay to Kafka, the log of each firm.

A follower keeps its own position, with what it holds (exactly once) or in `chancery.projections`, where every follower also shows how far
it is, what stopped it and who runs it, so that `status`, `/readyz` and `/metrics` name it as they name a view. Which followers there are
depends on the settings alone: an engine that is not set has no follower. One that is down never stops another, nor the record.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

import structlog

from infra import turns
from infra.blobs import BlobStore, blobs
from infra.database import Database
from infra.record.vault import Vault
from infra.settings import Settings

log = structlog.get_logger()

Progress = Callable[[int, int], None]
"""Told how many positions are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a follower is made of."""

    settings: Settings
    database: Database
    vault: Vault
    blobs: BlobStore


def parts(settings: Settings, database: Database) -> Parts:
    """The parts for these settings."""
    return Parts(settings, database, Vault(settings.keys_folder), blobs(settings))


class Follower(Protocol):
    """`name` is unique among followers and views."""

    name: str

    def run(self, stop: Event) -> None:
        """Catch up and follow the record until told to stop. Its engine and the database may go away and come back."""
        ...

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Make anew, from the record, what it holds, while the old serves; answers the position reached."""
        ...

    def digest(self) -> str:
        """SHA-256 of what it holds, in hex: equal for live and rebuilt, here and there."""
        ...


def _search(parts: Parts) -> Follower:
    from infra.search.follower import follower

    return follower(parts)


def _graph(parts: Parts) -> Follower | None:
    if parts.settings.neo4j_url is None:
        return None
    from infra.graph.neo4j.follower import follower

    return follower(parts)


def _log(parts: Parts) -> Follower:
    from infra.proofs.follower import follower

    return follower(parts)


def _erasures(parts: Parts) -> Follower:
    from infra.erasure.follower import follower

    return follower(parts)


def _relay(parts: Parts) -> Follower | None:
    if parts.settings.kafka_bootstrap is None:
        return None
    from infra.bus.relay import Relay

    return Relay(parts.settings, parts.database)


def _consent(parts: Parts) -> Follower:
    from infra.keeping import follower

    return follower(parts)


MAKERS: tuple[Callable[[Parts], Follower | None], ...] = (_search, _log, _graph, _erasures, _relay, _consent)
"""One for each follower there can be; None where the settings ask for none."""


def followers(parts: Parts) -> list[Follower]:
    """Every follower these settings ask for."""
    return [made for make in MAKERS if (made := make(parts)) is not None]


def follow(chosen: Sequence[Follower], stop: Event) -> None:
    """Run them, each in a thread of its own, until told to stop. One that dies of a defect is named and started again."""
    threads = [threading.Thread(target=_keep, args=(f, stop), name=f.name, daemon=True) for f in chosen]
    with turns.short():
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(timeout=20)


def _keep(follower: Follower, stop: Event) -> None:
    pause = 0.5
    while not stop.is_set():
        try:
            follower.run(stop)
        except Exception as e:  # a defect of one follower is not to stop the others
            log.exception("follower.died", follower=follower.name, error=type(e).__name__)
            stop.wait(pause)
            pause = min(pause * 2, 30.0)
