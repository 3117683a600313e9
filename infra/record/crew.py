"""Processes beside this one that work on pieces of something: Python decodes and encodes on one core, however many there are.

    with Crew(4, "infra.record.replay:ready", conninfo, keys) as crew:
        for result in crew.map(pieces):     # in the order of the pieces
            ...

C1  A process of the crew ends when the one that started it ends, however it ends: its only way in closes.
C2  What goes wrong with a piece is raised where its result would have come.
C3  `map` keeps at most `AHEAD` pieces a process under way, so memory is bounded by the size of a piece.

A result that is a bytearray comes as it is; any other is pickled. Either way it takes the interpreter two calls to receive it, whatever its
size: a thread that reads in many small steps takes the interpreter from the one that works at each.
"""

import copyreg
import dataclasses
import importlib
import io
import pickle  # nosec B403 - between this program's own processes, over a socket nobody else has
import socket
import struct
import subprocess  # nosec B404
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from itertools import islice
from operator import attrgetter
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from infra.ids import of_int

AHEAD = 2
_FRAME = struct.Struct("=BQ")
_GOOD, _BAD, _AS_IT_IS = range(3)


class CrewLost(Exception):
    """A process that helped with this work ended early. Nothing it did is counted; try again."""


class Crew:
    """So many processes, each made ready by `start`: a function named `module:name` that answers what is done with one piece."""

    def __init__(self, count: int, start: str, *arguments: Any) -> None:
        self._members: list[_Member] = []
        try:
            for _ in range(count):
                self._members.append(_Member(start, arguments))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.close()
        self._members.clear()

    @property
    def standing(self) -> bool:
        """Whether all are ready for work; none is any more when one was lost."""
        return all(m.ready and not m.lost for m in self._members)

    @property
    def pids(self) -> list[int]:
        return [m.process.pid for m in self._members]

    def submit(self, piece: bytes) -> "Future[Any]":
        """Give a piece, `packed`, to the one with the least to do."""
        return min(self._members, key=lambda m: len(m.under_way)).give(piece)

    def map(self, pieces: Iterable[Any]) -> Generator[Any, None, None]:
        """The result of each piece, in order."""
        source = iter(pieces)
        under_way = deque(self.submit(packed(piece)) for piece in islice(source, AHEAD * len(self._members)))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(self.submit(packed(piece)) for piece in islice(source, 1))
            yield result


class _Member:
    """One process, and the thread that takes what it says."""

    def __init__(self, start: str, arguments: tuple[Any, ...]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "infra.record.crew", str(theirs.fileno())]
            fd = theirs.fileno()
            self.process = subprocess.Popen(command, pass_fds=[fd], process_group=0)  # noqa: S603 # nosec B603 - ourselves
        self.under_way: deque[Future[Any]] = deque()
        self.ready = False
        self.lost = False
        self._guard = threading.Lock()
        _send(self._socket, _GOOD, packed((start, arguments)))
        self._thread = threading.Thread(target=self._listen, name="crew", daemon=True)
        self._thread.start()

    def give(self, piece: bytes) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._guard:
            if self.lost:
                raise CrewLost
            self.under_way.append(future)
            try:
                _send(self._socket, _GOOD, piece)
            except OSError as e:
                raise CrewLost from e
        return future

    def _listen(self) -> None:
        try:
            _receive(self._socket)
            self.ready = True
            while True:
                kind, told = _receive(self._socket)
                result: Any = told if kind == _AS_IT_IS else pickle.loads(told)  # noqa: S301 # nosec B301 - from our own process
                future = self.under_way.popleft()
                if kind == _BAD:
                    future.set_exception(result)
                else:
                    future.set_result(result)
        except (EOFError, OSError):
            with self._guard:
                self.lost = True
            while self.under_way:
                self.under_way.popleft().set_exception(CrewLost())

    def close(self) -> None:
        self.process.wait()
        self._thread.join()
        self._socket.close()


# --- what travels


def _send(to: socket.socket, kind: int, told: bytes | bytearray) -> None:
    frame = _FRAME.pack(kind, len(told))
    sent = to.sendmsg((frame, told))
    if sent < len(frame) + len(told):  # a signal came in between
        to.sendall(memoryview(frame + told)[sent:])


def _receive(source: socket.socket) -> tuple[int, bytearray]:
    kind, size = _FRAME.unpack(_received(source, _FRAME.size))
    return kind, _received(source, size)


def _received(source: socket.socket, size: int) -> bytearray:
    told = bytearray(size)
    at = 0
    while at < size:
        count = source.recv_into(memoryview(told)[at:], 0, socket.MSG_WAITALL)
        if not count:
            raise EOFError
        at += count
    return told


class _Pickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table[UUID] = lambda made: (of_int, (made.int,))  # a third of the time of UUID's own way


def travels(cls: type) -> None:
    """Let objects of a dataclass with slots travel as their values: its own way asks for its fields each time, on either side."""
    names = tuple(f.name for f in dataclasses.fields(cls))
    if cls in _Pickler.dispatch_table or not names:
        return
    values = attrgetter(*names)
    if len(names) == 1:
        _Pickler.dispatch_table[cls] = lambda made: (remade, (cls, names, (values(made),)))
    else:
        _Pickler.dispatch_table[cls] = lambda made: (remade, (cls, names, values(made)))


def remade(cls: type, names: tuple[str, ...], values: tuple[Any, ...], _set: Any = object.__setattr__) -> Any:
    """An object as it was before it travelled."""
    made: Any = object.__new__(cls)
    for name, value in zip(names, values, strict=True):
        _set(made, name, value)
    return made


def packed(value: Any) -> bytes:
    """A piece as it travels."""
    out = io.BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(value)
    return out.getvalue()


def named(function: str) -> Any:
    """The function that `module:name` names."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    """Work on what comes until nothing can come any more."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    try:
        start, arguments = pickle.loads(_receive(connection)[1])  # noqa: S301 # nosec B301 - from the process that started this one
        work = named(start)(*arguments)
        _send(connection, _AS_IT_IS, b"ready")
        while True:
            piece = pickle.loads(_receive(connection)[1])  # noqa: S301 # nosec B301
            try:
                result = work(piece)
                told = (_AS_IT_IS, result) if isinstance(result, bytearray) else (_GOOD, packed(result))
            except Exception as e:
                told = (_BAD, _failed(e))
            _send(connection, *told)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


def _failed(e: Exception) -> bytes:
    """An exception as it travels; one that can't is told by its kind."""
    try:
        told = packed(e)
        pickle.loads(told)  # noqa: S301 # nosec B301 - our own
    except Exception:
        return packed(RuntimeError(f"{type(e).__name__} in a process of the crew"))
    return told


if __name__ == "__main__":
    main()
