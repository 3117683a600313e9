"""The firm's log over HTTP, as C2SP tlog-tiles lays it out, below /v1/log; proofs out of it, and what witnesses say of it.

HL1  What is named by a size or a tile's place never changes and may be kept for ever; the newest checkpoint may not.
HL2  A cosignature is taken only over a checkpoint that this log has signed and stands by, from a witness that the policy names.
"""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import FirmId
from infra.http.commands import read_body
from infra.http.problems import HttpProblem
from infra.http.reads import json_response, parameters
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service
from infra.proofs import daily, heads
from infra.proofs.acting import ACTOR, PERMISSIONS, sealing
from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.encoding import b64, decimal
from infra.proofs.errors import Malformed, NotProved
from infra.proofs.notes import Note, Verifier
from infra.proofs.policy import Policy
from infra.proofs.store import AsyncLogStore, Beyond, Log, NodeCache, NoLog, RecordAltered
from infra.proofs.tiles import WIDTH, Address
from infra.proofs.timestamps import NoTimestamp, TimestampsUnusable, authority
from infra.proofs.tlogproof import TlogProof
from infra.proofs.witness import AddCheckpoint, accepted, cosigned_at

log = structlog.get_logger()

READ, WRITE = "log:read", "log:write"
FOR_EVER = "private, max-age=31536000, immutable"
FORKED = (
    "This log's key has signed this checkpoint, and the log does not have it. Keep the checkpoint: it proves that the log was"
    " set back or forked. Tell whoever runs this installation at once."
)
NOT_KEPT = "private, no-cache"
TEXT = "text/plain; charset=utf-8"
MOST_NOTHING = 1_000
MOST_NOTE = 100_000
AHEAD = timedelta(days=1)
_CONTACT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEYS = "SELECT vkey, from_size, note, since FROM chancery.log_keys WHERE firm_id = %s ORDER BY from_size, since"
_STAMPS = "SELECT size, stamped_at, response FROM chancery.log_timestamps WHERE firm_id = %s AND origin = %s ORDER BY stamped_at DESC LIMIT 1000"
_KEEP = "INSERT INTO chancery.log_checkpoints (firm_id, origin, size, note, signed_at) VALUES (%s, %s, %s, %s, now()) ON CONFLICT DO NOTHING"
_COSIGN = (
    "INSERT INTO chancery.log_cosignatures AS c (firm_id, origin, size, witness, line, cosigned_at) VALUES (%s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (firm_id, origin, size, witness) DO UPDATE SET line = excluded.line, cosigned_at = excluded.cosigned_at"
    " WHERE c.cosigned_at < excluded.cosigned_at"
)

Answer = Callable[[Request, Principal], Awaitable[Response]]


class Logs:
    """The routes of /v1/log."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cache = NodeCache()
        self._policy: tuple[float, Policy] | None = None
        self._at_work: set[FirmId] = set()

    def routes(self) -> list[tuple[str, str, str, Endpoint]]:
        tile = self._reading(self._tile)
        return [
            ("GET", "/v1/log/checkpoint", "log.checkpoint", self._reading(self._checkpoint)),
            ("GET", "/v1/log/vkey", "log.vkey", self._reading(self._vkey)),
            ("GET", "/v1/log/keys", "log.keys", self._reading(self._keys)),
            ("GET", "/v1/log/tile/{level}/{a}", "log.tile", tile),
            ("GET", "/v1/log/tile/{level}/{a}/{b}", "log.tile2", tile),
            ("GET", "/v1/log/tile/{level}/{a}/{b}/{c}", "log.tile3", tile),
            ("GET", "/v1/log/tile/{level}/{a}/{b}/{c}/{d}", "log.tile4", tile),
            ("GET", "/v1/log/proofs", "log.prove", self._reading(self._prove)),
            ("GET", "/v1/log/proofs/{index}", "log.proof", self._reading(self._proof)),
            ("GET", "/v1/log/consistency", "log.consistency", self._reading(self._consistency)),
            ("POST", "/v1/log/cosignatures", "log.cosign", self._reading(self._cosign)),
            ("GET", "/v1/log/heads", "log.heads", self._reading(self._heads)),
            ("GET", "/v1/log/heads/{contact}", "log.head", self._reading(self._head)),
            ("POST", "/v1/log/heads:seal", "log.seal", self._endpoint(self._seal, WRITE)),
            ("GET", "/v1/log/timestamps", "log.timestamps", self._reading(self._timestamps)),
            ("GET", "/v1/log/timestamps/{size}", "log.timestamp", self._reading(self._timestamp)),
            ("POST", "/v1/log/timestamps", "log.stamp", self._endpoint(self._stamp, WRITE)),
        ]

    # --- what all share

    def _reading(self, answer: Answer) -> Endpoint:
        return self._endpoint(answer, READ)

    def _endpoint(self, answer: Answer, permission: str) -> Endpoint:
        async def run(request: Request) -> Response:
            principal = await self._service.principal(request)
            principal.need(permission)
            try:
                return await answer(request, principal)
            except RecordAltered as e:
                raise altered(principal.firm, e) from e
            except NoLog as e:
                raise begun() from e

        return run

    @asynccontextmanager
    async def _store(self, principal: Principal) -> AsyncIterator[AsyncLogStore]:
        async with self._service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            yield AsyncLogStore(r.connection, principal.firm, self._cache)

    @contextmanager
    def _alone(self, principal: Principal) -> Iterator[None]:
        """Seals and timestamps take long: a firm has one of them made at a time."""
        if principal.firm in self._at_work:
            raise HttpProblem(
                503,
                "overloaded",
                "A seal or a timestamp of this log is being made. Try again shortly.",
                headers={"Retry-After": "5"},
            )
        self._at_work.add(principal.firm)
        try:
            yield
        finally:
            self._at_work.discard(principal.firm)

    async def _caught_up(self, request: Request) -> None:
        """A read that carries a position waits until the log has it."""
        if "log" in self._service.chancery.feed.positions:
            await self._service.wait_for(request, ("log",))

    def _witnesses(self) -> Policy:
        """The policy that names the witnesses, as the file now stands."""
        path = self._service.chancery.settings.witnesses
        if path is None:
            raise HttpProblem(
                409, "no-witnesses", "No witnesses are known here. Whoever runs this installation names them in CHANCERY_WITNESSES."
            )
        try:
            changed = Path(path).stat().st_mtime
            if self._policy is None or self._policy[0] != changed:
                self._policy = changed, Policy.parse(Path(path).read_bytes())
        except (OSError, Malformed) as e:
            log.error("log.witnesses_unreadable", error=type(e).__name__)
            raise HttpProblem(
                500, "witnesses-unreadable", "The policy of CHANCERY_WITNESSES can't be read. Tell whoever runs this installation."
            ) from e
        return self._policy[1]

    # --- the log

    async def _checkpoint(self, request: Request, principal: Principal) -> Response:
        asked = parameters(request, ("size", "witnessed"))
        await self._caught_up(request)
        async with self._store(principal) as store:
            entry = await store.log()
            if asked.get("witnessed", "false") not in {"true", "false"}:
                raise HttpProblem(400, "parameter-malformed", "The parameter witnessed is true or false.", parameter="witnessed")
            if asked.get("witnessed") == "true":
                policy = self._witnesses()
                for _, note, by in await store.cosigned(entry):
                    if policy.reached({name for name, v in policy.witnesses.items() if str(v) in by}):
                        return _text(note, NOT_KEPT)
                raise HttpProblem(404, "not-witnessed", "No checkpoint has the cosignatures that the policy asks for.")
            size = _number(asked["size"], "size") if "size" in asked else entry.checkpoint.size
            kept = await store.kept(entry, size)
            if kept is None:
                raise HttpProblem(
                    404, "checkpoint-not-kept", "No checkpoint of this size is kept. The newest always is; ask without a size."
                )
            return _text(await store.with_cosignatures(entry, size, kept), NOT_KEPT)

    async def _vkey(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        async with self._store(principal) as store:
            return _text(f"{(await store.log()).vkey}\n", NOT_KEPT)

    async def _keys(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        async with self._store(principal) as store:
            entry = await store.log()
            rows = await _all(store, _KEYS, principal.firm)
        keys = [{"vkey": v, "from_size": n, "since": s, "checkpoint": note} for v, n, note, s in rows]
        return json_response({"origin": entry.origin, "vkey": entry.vkey, "keys": keys})

    async def _tile(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        nothing = HttpProblem(404, "no-such-tile", "The log has no such tile. Its checkpoint says how large it is.")
        try:
            address = Address.parse(request.url.path.removeprefix("/v1/log/"))
        except Malformed as e:
            raise nothing from e
        async with self._store(principal) as store:
            entry = await store.log()
            begin = address.place * WIDTH
            if begin + address.width > entry.size >> 8 * (address.level or 0):
                raise nothing
            if address.level is None:
                raw = await store.bundle(begin, begin + address.width)
            else:
                tiles = await store.tiles([(address.level, address.place)])
                raw = tiles.get((address.level, address.place), b"")[: address.width * 32]
                if len(raw) != address.width * 32:
                    raise RecordAltered(f"tile {address.level}/{address.place} is missing or too narrow")
        headers = {"Cache-Control": FOR_EVER, "Vary": "Authorization, Accept-Encoding"}
        if address.level is None and "gzip" in request.headers.get("accept-encoding", ""):
            raw = await asyncio.to_thread(gzip.compress, raw, 5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Response(raw, media_type="application/octet-stream", headers=headers)

    # --- proofs

    async def _prove(self, request: Request, principal: Principal) -> Response:
        asked = parameters(request, ("position",))
        if "position" not in asked:
            raise HttpProblem(
                400,
                "parameter-missing",
                "Say which event: position=N, as a write answered it, or /v1/log/proofs/N by its place in the log.",
            )
        position = _number(asked["position"], "position")
        feed = self._service.chancery.feed
        if position > feed.head:
            await self._service.known(position)
        if "log" in feed.positions:
            await feed.wait(("log",), position)
        async with self._store(principal) as store:
            index = await store.index_at(position)
            if index is None:
                raise HttpProblem(404, "no-such-event", "The firm's record has no event at this position.")
            return await self._proved(store, index)

    async def _proof(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        await self._caught_up(request)
        async with self._store(principal) as store:
            return await self._proved(store, _number(request.path_params["index"], "index"))

    async def _proved(self, store: AsyncLogStore, index: int) -> Response:
        try:
            proof: TlogProof = await store.proof(index)
        except Beyond as e:
            if (await store.log()).stopped:
                raise HttpProblem(
                    503,
                    "log-stopped",
                    "The firm's log has stopped, and this event is not in it. Whoever runs this installation is told why by `chancery log status`.",
                    headers={"Retry-After": "60"},
                ) from e
            raise HttpProblem(
                404, "no-such-leaf", f"The log has {e.size} leaves, and none at {index}.", headers={"Retry-After": "1"}, size=e.size
            ) from e
        return Response(
            str(proof).encode(),
            media_type=TEXT,
            headers={"Cache-Control": NOT_KEPT, "Content-Disposition": f'attachment; filename="{index}.tlog-proof"'},
        )

    async def _consistency(self, request: Request, principal: Principal) -> Response:
        asked = parameters(request, ("old",))
        old = _number(asked.get("old", ""), "old")
        await self._caught_up(request)
        async with self._store(principal) as store:
            entry = await store.log()
            checkpoint = entry.checkpoint
            try:
                hashes = await store.consistency(entry, old, checkpoint.size) if old else ()
            except Beyond as e:
                raise HttpProblem(
                    409,
                    "log-is-smaller",
                    f"The log has {e.size} leaves. A checkpoint of a larger one is not of this log.",
                    size=e.size,
                ) from e
            except RecordAltered:
                raise
            except NotProved as e:
                raise HttpProblem(409, "log-is-smaller", f"The log has {checkpoint.size} leaves: {e}.", size=checkpoint.size) from e
        return _text(str(AddCheckpoint(old, hashes, str(entry.note))), NOT_KEPT)

    # --- witnesses

    async def _cosign(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        policy = self._witnesses()
        raw = await read_body(request, MOST_NOTE)
        async with self._store(principal) as store:
            entry = await store.log()
            keys = [Verifier.parse(v) for (v, *_) in await _all(store, _KEYS, principal.firm)]
            try:
                checkpoint = opened(raw, keys)
                note = Note.parse(raw)
            except NotProved as e:
                raise HttpProblem(422, "not-our-checkpoint", f"This is no checkpoint that this log has signed: {e}.") from e
            await _stand_by(store, entry, checkpoint, principal)
            kept = await store.kept(entry, checkpoint.size)
        good = []
        for witness, line in accepted(note.text, note.signatures, list(policy.witnesses.values())):
            at = cosigned_at(line)
            if at <= (datetime.now(UTC) + AHEAD).timestamp():
                good.append((witness, line, datetime.fromtimestamp(at, UTC)))
        if not good:
            raise HttpProblem(
                422,
                "not-cosigned",
                "No line is a cosignature of a witness known here. Send the checkpoint with the witness's line behind it.",
            )
        own = [str(s) for s in note.signatures if any((s.name, s.key_id) == (k.name, k.key_id) for k in keys)]
        place = principal.firm, entry.origin, checkpoint.size
        async with await self._service.chancery.database.connect_async("record") as c, c.transaction():
            await c.execute(_KEEP, (*place, kept or f"{note.text}\n{''.join(dict.fromkeys(own))}"))
            for witness, line, moment in good:
                await c.execute(_COSIGN, (*place, str(witness), str(line), moment))
        log.info("log.cosigned", firm=str(principal.firm), size=checkpoint.size, witnesses=len(good))
        return json_response({"size": checkpoint.size, "witnesses": [w.name for w, _, _ in good]})

    # --- heads

    async def _heads(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        async with self._store(principal) as store:
            found = await heads.seals_async(store.connection, principal.firm, 100)
        return json_response({"seals": [_seal(s) for s in found if s.event is not None]})

    async def _head(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        principal.need("consent:read")
        contact = request.path_params["contact"]
        if not _CONTACT.fullmatch(contact):
            raise HttpProblem(404, "no-such-head", "The id in the address is not a UUID.")
        await self._caught_up(request)
        async with self._store(principal) as store:
            try:
                proof = await heads.prove_async(store.connection, principal.firm, f"consent/{contact}")
            except heads.NoHead as e:
                raise HttpProblem(404, "no-such-head", f"{str(e)[:1].upper()}{str(e)[1:]}.") from e
        return json_response(
            {"seal": _seal(proof.seal), "index": proof.index, "head": proof.head, "inclusion": [b64(h) for h in proof.inclusion]}
        )

    async def _seal(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        await _nothing_sent(request)
        await self._caught_up(request)
        async with self._store(principal) as store:
            entry = await store.log()
        chancery = self._service.chancery
        with self._alone(principal):
            made = await asyncio.to_thread(heads.seal, chancery.database, entry)
        done = await chancery.executor.execute(sealing(made), firm=principal.firm, actor=ACTOR, permissions=PERMISSIONS)
        return json_response({**_seal(made), "position": done.position}, headers={"Chancery-Position": str(done.position)})

    # --- timestamps

    async def _timestamps(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        async with self._store(principal) as store:
            entry = await store.log()
            rows = await _all(store, _STAMPS, principal.firm, entry.origin)
        return json_response({"timestamps": [{"size": size, "stamped_at": at} for size, at, _ in rows]})

    async def _timestamp(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        size = _number(request.path_params["size"], "size")
        async with self._store(principal) as store:
            entry = await store.log()
            rows = await _all(store, _STAMPS, principal.firm, entry.origin)
        for at_size, _, response in rows:
            if at_size == size:
                return Response(response, media_type="application/timestamp-reply", headers={"Cache-Control": NOT_KEPT})
        raise HttpProblem(404, "no-such-timestamp", "No checkpoint of this size has a timestamp.")

    async def _stamp(self, request: Request, principal: Principal) -> Response:
        parameters(request, ())
        await _nothing_sent(request)
        await self._caught_up(request)
        chancery = self._service.chancery
        try:
            by = authority(chancery.settings)
            if by is None:
                raise HttpProblem(
                    409, "no-authority", "No time-stamping authority is set. Whoever runs this installation sets CHANCERY_TSA_URL."
                )

            def ask() -> tuple[int, datetime]:
                with chancery.database.connect("record") as c:
                    return daily.stamp(c, principal.firm, by)

            with self._alone(principal):
                size, at = await asyncio.to_thread(ask)
        except (NoTimestamp, TimestampsUnusable) as e:
            raise HttpProblem(503, "no-timestamp", str(e), headers={"Retry-After": "60"}) from e
        return json_response({"size": size, "stamped_at": at})


def altered(firm: UUID, e: RecordAltered) -> HttpProblem:
    """What is answered where a proof would be of something else than the log was built over."""
    log.error("log.record_altered", firm=str(firm), why=str(e))
    return HttpProblem(
        500,
        "record-altered",
        "The record is not what the log was built over. Tell whoever runs this installation at once: `chancery doctor` names what was altered.",
    )


def begun() -> HttpProblem:
    """Something is recorded, and the first checkpoint over it is not signed yet: it takes a moment."""
    why = "The firm's log is being begun. Nothing in it is signed yet: try again in a second."
    return HttpProblem(503, "log-beginning", why, headers={"Retry-After": "1"})


async def _stand_by(store: AsyncLogStore, entry: Log, checkpoint: Checkpoint, principal: Principal) -> None:
    """HttpProblem when the checkpoint, which this log's key has signed, is not one of this log as it stands."""
    if checkpoint.origin != entry.origin:
        raise HttpProblem(409, "another-log", f"The checkpoint is of {checkpoint.origin}; the firm's log is {entry.origin}.")
    if checkpoint.size > entry.size or await store.root(entry, checkpoint.size) != checkpoint.root:
        log.error("log.forked", firm=str(principal.firm), size=checkpoint.size)
        raise HttpProblem(
            409,
            "log-forked",
            FORKED,
            size=entry.size,
        )


async def _all(store: AsyncLogStore, sql: str, *values: object) -> list[Any]:
    async with store.connection.cursor(binary=True) as cursor:
        await cursor.execute(sql, values)
        return await cursor.fetchall()


def _seal(s: heads.Seal) -> dict[str, Any]:
    return {"as_of_size": s.as_of_size, "root": b64(s.root), "count": s.count, "made_at": s.made_at, "event": s.event}


def _text(text: str, caching: str) -> Response:
    return Response(text.encode(), media_type=TEXT, headers={"Cache-Control": caching})


def _number(text: str, name: str) -> int:
    try:
        return decimal(text)
    except Malformed as e:
        raise HttpProblem(400, "parameter-malformed", f"The parameter {name} is a whole number.", parameter=name) from e


async def _nothing_sent(request: Request) -> None:
    """What takes no body takes an empty object too: many clients always send one."""
    if (await read_body(request, MOST_NOTHING)).strip() not in {b"", b"{}"}:
        errors = [{"field": "", "reason": "Leave the body out", "rule": "no_body"}]
        raise HttpProblem(422, "invalid-request", "This address takes no body. Leave it out, or send {}.", errors=errors)
