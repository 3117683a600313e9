"""Processes beside this one that work on pieces of something: Python decodes and encodes on one core, however many there are.

    with Crew(4, "infra.record.replay:worker", conninfo, keys) as crew:
        for result in crew.map(pieces):     # in the order of the pieces
            ...

C1  A process of the crew ends when the one that started it ends, however it ends: its only way in closes.
C2  What goes wrong with a piece is raised where its result would have come.
C3  At most `AHEAD` pieces a process are under way or waiting to be taken, so memory is bounded by the size of a piece.
"""

import importlib
import pickle  # nosec B403 - between this program's own processes, over a socket nobody else has
import socket
import subprocess  # nosec B404
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

AHEAD = 2


class CrewLost(Exception):
    """A process that helped with this work ended early. Nothing it did is counted; try again."""


class Crew:
    """So many processes, each made ready by `start`: a function named `module:name` that answers what is done with one piece."""

    def __init__(self, count: int, start: str, *arguments: Any) -> None:
        self._connections: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(count):
                mine, theirs = socket.socketpair()
                with theirs:
                    self._connections.append(Connection(mine.detach()))
                    command = [sys.executable, "-m", "infra.record.crew", str(theirs.fileno())]
                    self._processes.append(
                        subprocess.Popen(command, pass_fds=[theirs.fileno()], process_group=0)  # noqa: S603 # nosec B603 - ourselves
                    )
                self._connections[-1].send((start, arguments))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.kill()
            process.wait()
        self._connections.clear()
        self._processes.clear()

    def map(self, pieces: Iterable[Any]) -> Generator[Any, None, None]:
        """The result of each piece, in order."""
        source = iter(pieces)
        under_way: dict[Connection, deque[int]] = {c: deque() for c in self._connections}
        try:
            yield from self._map(source, under_way)
        finally:  # given up early: what is still to come is nobody's
            for connection, numbers in under_way.items():
                for _ in numbers:
                    self._receive(connection)

    def _map(self, source: Iterator[Any], under_way: dict[Connection, deque[int]]) -> Iterator[Any]:
        results: dict[int, tuple[bool, Any]] = {}
        given = taken = 0
        more = True
        while True:
            while more and given - taken < AHEAD * len(under_way):
                free = min(under_way, key=lambda c: len(under_way[c]))
                if len(under_way[free]) >= AHEAD:
                    break
                try:
                    piece = next(source)
                except StopIteration:
                    more = False
                    break
                self._send(free, piece)
                under_way[free].append(given)
                given += 1
            if taken in results:
                good, result = results.pop(taken)
                taken += 1
                if not good:
                    raise result
                yield result
                continue
            if taken == given:
                return
            for ready in wait([c for c, numbers in under_way.items() if numbers]):
                assert isinstance(ready, Connection)  # noqa: S101 # nosec B101 - only connections were waited for
                results[under_way[ready].popleft()] = self._receive(ready)

    def _send(self, connection: Connection, piece: Any) -> None:
        try:
            connection.send(piece)
        except OSError as e:
            raise CrewLost from e

    def _receive(self, connection: Connection) -> tuple[bool, Any]:
        try:
            result: tuple[bool, Any] = connection.recv()
        except (EOFError, OSError) as e:
            raise CrewLost from e
        return result


def named(function: str) -> Any:
    """The function that `module:name` names."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    """Work on what comes until nothing can come any more."""
    connection = Connection(int(sys.argv[1]))
    try:
        start, arguments = connection.recv()
        work = named(start)(*arguments)
        while True:
            piece = connection.recv()
            try:
                answer = (True, work(piece))
            except Exception as e:
                answer = (False, e)
            try:
                connection.send(answer)
            except (pickle.PicklingError, TypeError, AttributeError) as e:
                connection.send((False, TypeError(f"the result can't be sent: {e}")))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


if __name__ == "__main__":
    main()
