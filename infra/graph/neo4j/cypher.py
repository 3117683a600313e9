"""Running an analyst's Cypher on Neo4j: its words judged here, then explained, judged and run in a process of its own, with bounds on
time, rows, bytes and memory."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from infra.graph.neo4j.client import Address, Client, Neo4jAway
from infra.graph.neo4j.running import KINDS, MOST_BYTES
from queries.graph.cypher import AskCypher, CypherTookTooLong, CypherTooLarge, CypherUnavailable, checked

SECONDS = 10.0
STARTING = 5.0  # beside what the query itself takes
AT_ONCE = 2  # in one process


@dataclass(frozen=True, slots=True)
class Answered:
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    truncated: bool


class Neo4jFilling(Exception):
    """Neo4j is being filled for the first time, and what it holds is a part."""


class CypherBusy(Exception):
    """As many queries run now as may at once. Try again shortly."""


class Cypher:
    """For one process."""

    def __init__(self, client: Client, address: Address) -> None:
        self._client = client
        self._address = address
        self._room = asyncio.Semaphore(AT_ONCE)
        self._idle: list[_Worker] = []

    async def run(self, asked: AskCypher, *, firms: int, by: str) -> Answered:
        """The rows, or a refusal that says why there are none. Neo4jAway when Neo4j does not answer, Neo4jFilling while it holds a part
        only; CypherBusy when others are at it.

        `firms` is how many firms the database holds: Cypher knows no fence between them, so there must be one alone.
        """
        if firms != 1:
            raise CypherUnavailable(
                "This database holds the graphs of several firms, and Cypher knows no fence between them. Ask the other questions of the"
                " graph, which do; or keep a firm that needs Cypher in a database of its own.",
            )
        text = checked(asked.query)
        if self._client.away:
            raise Neo4jAway
        if self._room.locked():
            raise CypherBusy
        async with self._room:
            said = await self._client.unless_away(self._run(text, asked, by))
        if said.get("away"):
            raise Neo4jAway
        if said.get("filling"):
            raise Neo4jFilling
        if "refused" in said:
            raise KINDS[said["refused"]](*([said["why"]] if said.get("why") else []), **said["about"])
        return Answered(said["columns"], said["rows"], said["truncated"])

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def _run(self, text: str, asked: AskCypher, by: str) -> dict[str, Any]:
        worker = self._idle.pop() if self._idle else await _Worker.start(self._address)
        order = {"text": text, "parameters": asked.parameters, "rows": asked.max_rows, "seconds": SECONDS, "by": by}
        whole = False
        try:
            async with asyncio.timeout(SECONDS + STARTING):
                said = await worker.ask(order)
            whole = said is not None
        except TimeoutError:
            raise CypherTookTooLong(seconds=SECONDS) from None
        finally:
            if whole:
                self._idle.append(worker)
            else:
                await worker.end()
        if said is None:
            raise CypherTooLarge  # it ran out of memory
        return said


class _Worker:
    """A process that runs one query at a time (infra.graph.neo4j.running)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, address: Address) -> "_Worker":
        made = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "infra.graph.neo4j.running"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=MOST_BYTES * 2,
                start_new_session=True,
            )
        )
        made._send({"uri": address.uri, "auth": address.auth})
        return made

    def _send(self, said: dict[str, Any]) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(orjson.dumps(said) + b"\n")

    async def ask(self, order: dict[str, Any]) -> dict[str, Any] | None:
        """What it answers; None when it ended instead."""
        try:
            self._send(order)
            line = await self._process.stdout.readline() if self._process.stdout is not None else b""
        except (ConnectionError, ValueError):
            return None
        return orjson.loads(line) if line.endswith(b"\n") else None

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
