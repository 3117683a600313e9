"""Carrying an approved erasure out: keys, then every store, then the certificate. Each step is recorded; a broken one is taken up again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from commands.documents import DiscardDocument
from commands.privacy import CompleteErasure, RecordKeysDestroyed, RecordPurged
from domain.kernel import FirmId, NotFound, Refused
from domain.privacy import PRIVACY, Request, RequestId
from infra.bootstrap import Chancery
from infra.cli.console import execute
from infra.erasure.addresses import suppress_addresses
from infra.erasure.keys import EVIDENCE, ErasedList, destroy, kept_purposes, touched
from infra.erasure.rejected import forget_rejected
from infra.erasure.stores import Task, stores
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
    keys = await asyncio.to_thread(_destroy, c, firm, contact, asked, subjects)
    if asked.status == "approved":
        await execute(c, RecordKeysDestroyed(id=contact, request=request, keys=len(keys), subjects=subjects.ids[:1000]), firm)
    task = Task(parts, subjects, await asyncio.to_thread(_touched, c, firm, keys))
    for store in stores(parts):
        if store.name not in asked.purged:
            things = await store.purge(task)
            await execute(c, RecordPurged(id=contact, request=request, store=store.name, things=things), firm)
            say(store.name, things)
    asked = await _asked(c, firm, contact, request)
    names = [s.name for s in stores(parts)]
    certificate = certify(c.settings, c.vault, firm, "chancery.erasure/v1", _statement(asked, contact, subjects, len(keys)))
    await execute(c, CompleteErasure(id=contact, request=request, stores=tuple(names), certificate=certificate), firm)
    log.info("erasure.completed", request=str(request), stores=names)
    return certificate


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
        "completed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


__all__ = ["WouldGo", "carry_out", "would_go"]
