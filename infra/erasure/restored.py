"""A database restored from before an erasure is erased again, by the list beside the keys, before it serves (ER4)."""

import asyncio

import structlog

from infra.database import Database
from infra.erasure.keys import Erased, ErasedList, null, touched
from infra.erasure.rows import anew
from infra.erasure.stores import Task, stores
from infra.erasure.subjects import Subjects
from infra.followers import Parts
from infra.record.vault import Vault

log = structlog.get_logger()


def replay(database: Database, vault: Vault) -> list[Erased]:
    """Destroy again what a restored database has brought back of people who were erased; answers the erasures that were needed again.

    Sealed values and rows of views go with them at once; search and the other stores are purged by `purge_again`.
    """
    done = []
    for erased in ErasedList(vault.folder):
        with database.connect("record") as c:
            found = c.execute(
                "DELETE FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) AND NOT purpose = ANY(%s) AND key_id = ANY(%s)"
                " RETURNING key_id",
                (erased.firm, list(erased.subjects), list(erased.kept_purposes), list(erased.keys)),
            ).fetchall()
            if not found:
                continue
            done.append(erased)
            log.warning("erasure.replayed", firm=str(erased.firm), request=str(erased.request), keys=len(found))
            for subject in erased.subjects:
                vault.forget(erased.firm, subject)
            events = list(touched(c, erased.firm, erased.keys))
            null(c, vault, erased.firm, events)
            anew(c, vault, erased.firm, [p for p, _ in events])
    return done


async def purge_again(parts: Parts, which: list[Erased] | None = None) -> None:
    """Let every store go, once more, of those on the list, or of some of them."""
    for erased in ErasedList(parts.vault.folder) if which is None else which:
        with parts.database.connect("record") as c:
            events = c.execute(
                "SELECT position, coalesce(sealed, '[]') FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s)",
                (erased.firm, list(erased.subjects)),
            ).fetchall()
        subjects = Subjects(firm=erased.firm, people=erased.subjects, documents=(), kept=(), contents=erased.contents)
        for store in stores(parts):
            if store.name != "record":
                await store.purge(Task(parts, subjects, events))


async def again_erased(parts: Parts) -> int:
    """Before a process serves: erase what a restore has brought back. Answers how many erasures were needed again."""
    again = await asyncio.to_thread(replay, parts.database, parts.vault)
    if again:
        await purge_again(parts, again)
    return len(again)
