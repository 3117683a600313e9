"""Carrying an approved erasure out: keys, then every store, then the certificate. Each step is recorded; a broken one is taken up again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog

from commands.documents import DiscardDocument
from commands.privacy import AwaitStore, CompleteErasure, RecordKeysDestroyed, RecordPurged
from domain.kernel import FirmId, NotFound, Refused
from domain.privacy import PRIVACY, Request, RequestId
from infra.away import NotForgotten
from infra.bootstrap import Chancery
from infra.cli.console import execute
from infra.erasure.addresses import suppress_addresses
from infra.erasure.keys import EVIDENCE, ErasedList, destroy, kept_purposes, listed_keys, touched
from infra.erasure.rejected import forget_rejected
from infra.erasure.stores import PAGES, RECORD, Task, stores
from infra.erasure.subjects import Subjects, of_contact
from infra.followers import Parts
from infra.proofs.certificates import certify

log = structlog.get_logger()

Say = Callable[[str, int], None]
"""Told the store that has answered, and how many things it let go of."""


@dataclass(frozen=True, slots=True)
class WouldGo:
    """What an erasure would destroy now, and what it would leave, with why."""

    subjects: Subjects
    keys: int
    events: int
    stores: tuple[str, ...]
    holds: tuple[str, ...]


class StoresAwaited(Exception):
    """Stores did not answer; the message names them, with why. The erasure goes on where it is when it is carried out again."""


def _why(e: Exception) -> str:
    """What went wrong, in words that were written to be read, or the kind of the error alone: its text might quote a value."""
    return (str(e) or type(e).__name__)[:900] if isinstance(e, NotForgotten) else type(e).__name__


def parts_of(c: Chancery) -> Parts:
    return Parts(c.settings, c.database, c.vault, c.blobs)


def _subjects(c: Chancery, firm: UUID, contact: UUID) -> Subjects:
    with c.database.connect("record") as connection:
        return of_contact(connection, firm, contact, datetime.now(UTC).date())


def would_go(c: Chancery, firm: UUID, contact: UUID) -> WouldGo:
    """The dry run of an erasure: nothing is written. Raises NotFound."""
    subjects = _subjects(c, firm, contact)
    with c.database.connect("record") as connection:
        there = "SELECT FROM record.streams WHERE firm_id = %s AND stream_type = 'contact' AND stream_id = %s"
        if connection.execute(there, (firm, contact)).fetchone() is None:
            raise NotFound(kind="contact", id=str(contact))
        keys = [
            k
            for (k,) in connection.execute(
                "SELECT key_id FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s)", (firm, list(subjects.ids))
            ).fetchall()
        ]
        events = sum(1 for _ in touched(connection, firm, keys))
        holds = connection.execute(
            "SELECT id::text FROM views.contact_holds WHERE firm_id = %s AND contact = ANY(%s) AND active ORDER BY id",
            (firm, list(subjects.people)),
        ).fetchall()
    return WouldGo(subjects, len(keys), events, tuple(s.name for s in stores(parts_of(c))), tuple(h for (h,) in holds))


async def carry_out(c: Chancery, firm: FirmId, contact: UUID, request: UUID, say: Say = lambda _store, _things: None) -> str:
    """Carry out an erasure that was approved, or go on with one that was broken off; answers the certificate."""
    asked = await _asked(c, firm, contact, request)
    parts = parts_of(c)
    subjects = await asyncio.to_thread(_subjects, c, firm, contact)
    listed = next((e for e in ErasedList(c.vault.folder) if e.firm == firm and e.request == request), None)
    if listed is not None:  # broken off: what the views say of documents may be gone already
        subjects = Subjects(
            firm=firm,
            people=tuple(s for s in listed.subjects if s in subjects.people or s == contact),
            documents=tuple(s for s in listed.subjects if s not in subjects.people and s != contact),
            kept=subjects.kept,
            contents=listed.contents,
        )
    else:
        subjects = await _discarded(c, firm, subjects)
    if (
        asked.status != "approved"
    ):  # recorded as destroyed, and forgotten everywhere before that: they are not destroyed at each try
        keys = listed_keys(c.vault, firm, request)
    else:
        keys = await asyncio.to_thread(_destroy, c, firm, contact, asked, subjects)
        await execute(c, RecordKeysDestroyed(id=contact, request=request, keys=len(keys), subjects=subjects.ids[:1000]), firm)
    task = Task(parts, subjects, await asyncio.to_thread(_touched, c, firm, keys))
    await _let_go(c, asked, contact, task, say)
    asked = await _asked(c, firm, contact, request)
    names = [s.name for s in stores(parts)]
    said = _statement(asked, contact, subjects, len(keys))
    origin = await asyncio.to_thread(_log_of, c, firm)
    certificate = certify(c.settings, c.vault, firm, "chancery.erasure/v1", said, origin=origin)
    await execute(c, CompleteErasure(id=contact, request=request, stores=tuple(names), certificate=certificate), firm)
    log.info("erasure.completed", request=str(request), stores=names)
    return certificate


async def _let_go(c: Chancery, asked: Request, contact: UUID, task: Task, say: Say) -> None:
    """Have every store let go that has not yet. Raises StoresAwaited when one did not; the record then keeps its unreadable parts, which say
    what to ask that store for, and what PostgreSQL keeps of rows that went is swept all the same."""
    firm = FirmId(task.subjects.firm)
    away: list[str] = []
    some = False
    for store in stores(task.parts):
        last = store.name in {RECORD, PAGES}
        if store.name in asked.purged or (away and (store.name == RECORD or (last and not some))):
            continue
        try:
            things = await store.purge(task)
        except psycopg.Error:
            raise
        except Exception as e:  # whatever is the matter with one store, the others let go, and it is asked again
            away.append(f"{store.name}: {_why(e)}")
            log.error("erasure.store_awaited", request=str(asked.id), store=store.name, error=type(e).__name__)
            await execute(c, AwaitStore(id=contact, request=asked.id, store=store.name, because=_why(e)), firm)
            continue
        some = True
        if not (away and last):
            await execute(c, RecordPurged(id=contact, request=asked.id, store=store.name, things=things, left=store.left), firm)
            say(store.name, things)
    if away:
        raise StoresAwaited("; ".join(away))


async def _discarded(c: Chancery, firm: FirmId, subjects: Subjects) -> Subjects:
    """Discard the documents that go; one that was put under hold or retention meanwhile stays."""
    gone, kept = [], list(subjects.kept)
    for document in subjects.documents:
        try:
            await execute(c, DiscardDocument(id=document, reason="Erased with the person it was about."), firm)
            gone.append(document)
        except Refused as e:
            kept.append((document, type(e).__name__))
    if len(gone) == len(subjects.documents):
        return subjects
    return replace(subjects, documents=tuple(gone), kept=tuple(kept), contents=())  # what they share is not known: it stays


async def _asked(c: Chancery, firm: FirmId, contact: UUID, request: UUID) -> Request:
    entity = await c.executor.unremembered().load(firm, PRIVACY, contact)
    return entity.state.requests[RequestId(request)]


def _destroy(c: Chancery, firm: UUID, contact: UUID, asked: Request, subjects: Subjects) -> list[UUID]:
    with c.database.connect("record") as connection:
        forget_rejected(connection, c.vault, firm, subjects.people)
        if asked.suppress:
            suppress_addresses(connection, c.vault, firm, subjects.people)
        return destroy(
            connection,
            c.vault,
            firm=firm,
            contact=contact,
            request=asked.id,
            subjects=subjects.ids,
            kept=kept_purposes(asked.kind),
            contents=subjects.contents,
            suppress=asked.suppress,
        )


def _touched(c: Chancery, firm: UUID, keys: list[UUID]) -> list[tuple[int, bytes]]:
    with c.database.connect("record") as connection:
        return list(touched(connection, firm, keys))


def _log_of(c: Chancery, firm: UUID) -> str | None:
    """The name of the firm's log as it is now: of one that was begun anew the new one, whose key people have."""
    with c.database.connect("record") as connection:
        row = connection.execute("SELECT origin FROM chancery.logs WHERE firm_id = %s", (firm,)).fetchone()
        return None if row is None else str(row[0])


def _statement(asked: Request, contact: UUID, subjects: Subjects, keys: int) -> dict[str, Any]:
    return {
        "contact": str(contact),
        "documents": len(subjects.documents),
        "documents_kept": {reason: sum(r == reason for _, r in subjects.kept) for reason in sorted({r for _, r in subjects.kept})},
        "ground": asked.ground,
        "keys_destroyed": keys,
        "kind": asked.kind,
        "kept_classes": [EVIDENCE] if asked.kind == "anonymise" else [],
        "received_at": asked.received_at.isoformat(),
        "request": str(asked.id),
        "stores": dict(sorted(asked.purged.items())),
        "unreadable": sorted(asked.unreadable),
        "completed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


__all__ = ["StoresAwaited", "WouldGo", "carry_out", "would_go"]
