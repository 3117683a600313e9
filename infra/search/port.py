"""What the indexer asks of an index: builds of it, one of which serves."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import psycopg

from infra.search.pgstore import Key
from projections.search import Entry


class Store(Protocol):
    """One build of the index. `apply` is all or nothing as far as its position goes, and refuses with Outrun when the build is elsewhere."""

    def position(self) -> int | None: ...

    def apply(self, position: int, reached: int, changes: Mapping[Key, Entry | None]) -> None: ...

    def settle(self) -> None:
        """Let readers find what was applied, and say how far that is."""
        ...

    def stop(self, position: int, poison: int, error: Exception, /) -> None: ...


class Filling(Store, Protocol):
    """A build that does not serve yet."""

    def swap(self) -> bool: ...

    def give_up(self) -> None: ...


Remade = Mapping[Key, tuple[int, Entry | None]]
"""Entries made again, each with the position of the last event that made it."""


class Index(Protocol):
    """Where the builds are. `name` is its row in chancery.projections, `engine` what chancery.search_engine calls it."""

    name: str
    engine: str
    lost: tuple[type[Exception], ...]  # what it raises when its engine goes away
    refuses: tuple[type[Exception], ...]  # what it raises when it can't take an entry for what that is

    def open(self, c: psycopg.Connection[Any]) -> None:
        """Make what has to be there, and show how far the live build is."""
        ...

    def current(self, c: psycopg.Connection[Any], version: int) -> bool:
        """Whether there is a live build and it is of this version."""
        ...

    def renewed(self, c: psycopg.Connection[Any], version: int) -> None: ...

    def live(self, c: psycopg.Connection[Any], stopping: Callable[[], bool], /) -> Store: ...

    def fill(self, c: psycopg.Connection[Any], version: int, stopping: Callable[[], bool], /) -> Filling: ...

    def again(self, c: psycopg.Connection[Any], fold: Callable[[int | None], Remade]) -> None:
        """Put what `fold` makes of entries, as of a position or of now, in the place of what is there, in every build."""
        ...

    def purge(self, c: psycopg.Connection[Any], /) -> None:
        """Take what was replaced or deleted off the disk."""
        ...

    def away(self, c: psycopg.Connection[Any], e: Exception) -> None:
        """Show that the engine can't now, and why."""
        ...

    def digest(self, c: psycopg.Connection[Any], /) -> str:
        """Of the live build's entries alone: equal for live and rebuilt, and in whatever engine."""
        ...
