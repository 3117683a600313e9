"""A database restored from before an erasure is erased again, by the list beside the keys, before it serves (ER4)."""

import asyncio
from collections.abc import Sequence

import structlog

from infra.away import NotForgotten
from infra.database import Database
from infra.erasure.addresses import suppress_addresses
from infra.erasure.keys import Erased, ErasedList, everywhere_forgotten, touched
from infra.erasure.pages import sweep
from infra.erasure.rejected import forget_rejected
from infra.erasure.stores import PAGES, Task, stores
from infra.erasure.subjects import Subjects
from infra.followers import Parts
from infra.record.vault import Vault

log = structlog.get_logger()


_LIVING = (
    "SELECT FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) AND NOT purpose = ANY(%s) AND key_id = ANY(%s) LIMIT 1"
)
_DESTROY = "DELETE FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) AND NOT purpose = ANY(%s) AND key_id = ANY(%s)"
_BEGUN = "INSERT INTO chancery.erasures_again (firm_id, request) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_OWN = "SELECT position, coalesce(sealed, '[]') FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s)"
_DONE = "DELETE FROM chancery.erasures_again WHERE firm_id = %s AND request = %s"


def destroy_again(database: Database, vault: Vault) -> list[Erased]:
    """Destroy again the keys that a restored database has brought back of people who were erased; answers the erasures that are needed
    again, those of them that were broken off included."""
    done: list[Erased] = []
    listed = ErasedList(vault.folder)
    every = list(listed)
    if not every:
        return done
    with database.connect("record") as c:
        begun = {(f, r) for f, r in c.execute("SELECT firm_id, request FROM chancery.erasures_again").fetchall()}
        for erased in every:
            about = (erased.firm, list(erased.subjects), list(erased.kept_purposes), list(erased.keys))
            found = c.execute(_LIVING, about).fetchone() is not None
            if not found and (erased.firm, erased.request) not in begun:
                continue
            done.append(erased)
            if found:
                forget_rejected(c, vault, erased.firm, erased.subjects)
                if erased.suppress:
                    suppress_addresses(c, vault, erased.firm, erased.subjects)
                with c.transaction():
                    c.execute(_BEGUN, (erased.firm, erased.request))
                    keys = c.execute(_DESTROY, about).rowcount
                log.warning("erasure.replayed", firm=str(erased.firm), request=str(erased.request), keys=keys)
    if done:
        everywhere_forgotten(vault, listed)
    return done


async def purge_again(parts: Parts, which: Sequence[Erased] | None = None) -> None:
    """Let every store go, once more, of those on the list, or of some of them."""
    chosen = list(ErasedList(parts.vault.folder)) if which is None else which
    for erased in chosen:
        with parts.database.connect("record") as c:
            events = dict(touched(c, erased.firm, erased.keys))
            own = c.execute(_OWN, (erased.firm, list(erased.subjects))).fetchall()
        subjects = Subjects(firm=erased.firm, people=erased.subjects, documents=(), kept=(), contents=erased.contents)
        task = Task(parts, subjects, sorted({**dict(own), **events}.items()))
        for store in stores(parts):
            if store.name == PAGES:
                continue
            try:
                await store.purge(task)
            except NotForgotten as e:
                # an engine was not restored with the database: what it is to forget it was told before, and is told again at the next start
                log.warning("erasure.store_awaited", request=str(erased.request), store=store.name, error=str(e))
                break
        else:
            _done(parts, erased)
    if chosen:
        await asyncio.to_thread(sweep, parts.database)


def _done(parts: Parts, erased: Erased) -> None:
    with parts.database.connect("record") as c:
        c.execute(_DONE, (erased.firm, erased.request))


async def again_erased(parts: Parts) -> list[Erased]:
    """Before a process serves: erase what a restore has brought back. Answers the erasures that were needed again."""
    again = await asyncio.to_thread(destroy_again, parts.database, parts.vault)
    await purge_again(parts, again)
    return again
