"""A conversation with the server on an event loop: it goes on whenever the socket has something, without another thread."""

import asyncio
import contextlib
from typing import Any

import psycopg

from infra.record import wire


class Conversing:
    """Whoever talks with the server over one connection of its own. `_talk` is what is being said, if anything is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._pipe: wire.Pipe | None = None
        self._fd = -1
        self._talk: wire.Talk[Any] | None = None
        self._writing = False  # whether the socket is watched for room, too

    def _go_on(self) -> None:
        """Take the conversation a step further; there is one."""
        raise NotImplementedError

    def _connected(self, c: psycopg.AsyncConnection[Any]) -> wire.Pipe:
        self._connection, self._pipe, self._fd = c, wire.Pipe(c.pgconn), c.pgconn.socket
        self._loop.add_reader(self._fd, self._readable)
        return self._pipe

    def _readable(self) -> None:
        if self._talk is not None:
            self._go_on()
        elif self._pipe is not None:
            try:
                self._pipe.pg.consume_input()
            except psycopg.Error:
                self._drop()

    def _watch_room(self, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._fd, self._go_on)
            else:
                self._loop.remove_writer(self._fd)

    def _drop(self) -> None:
        if self._pipe is not None:
            self._watch_room(False)
            with contextlib.suppress(RuntimeError):
                self._loop.remove_reader(self._fd)
            self._pipe.pg.finish()
            self._pipe = self._connection = None
