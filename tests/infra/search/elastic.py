"""An index in the real Elasticsearch for a test: under a prefix of its own, gone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg

from commands.contacts import AmendContact, CreateContact
from commands.notes import RemoveNote, WriteNote
from commands.task_comments import CommentTask
from commands.tasks import CreateTask
from infra.record import wire
from infra.search.digest import in_postgres
from infra.search.elastic.builds import ElasticIndex
from infra.search.elastic.bulk import Bulk
from infra.search.elastic.client import Elastic
from infra.search.indexer import Indexer
from tests.infra.imports.importing import Firm


@contextmanager
def an_index(url: str, *, name: str | None = None, **how: Any) -> Iterator[ElasticIndex]:
    prefix = f"t{uuid4().hex[:12]}"
    elastic = Elastic(url, timeout=60.0)
    bulk = Bulk(elastic, **how) if how else None
    yield ElasticIndex(elastic, prefix, "a test", name=name or f"search-{prefix}", bulk=bulk)
    sweep(url, prefix)


def sweep(url: str, prefix: str) -> None:
    """Remove what stands under a prefix."""
    elastic = Elastic(url, timeout=60.0)
    indices = [i for i in elastic.ask("GET", f"/{prefix}-*/_alias", fine=(404,)) if i.startswith(prefix)]
    if indices:
        elastic.ask("DELETE", f"/{','.join(indices)}", fine=(404,))
    elastic.close()


def connect(firm: Firm) -> psycopg.Connection[Any]:
    c = firm.database.connect("record")
    wire.register(c)
    return c


def indexing(firm: Firm, index: ElasticIndex | None = None, batch: int = 500) -> Indexer:
    return Indexer(firm.database, firm.vault, firm.blobs, batch=batch, index=index)


def up_to_date(firm: Firm, index: ElasticIndex | None = None, batch: int = 500) -> Indexer:
    """An indexer that has indexed everything there is."""
    with connect(firm) as c:
        made = indexing(firm, index, batch)
        made.prepare(c)
        made.catch_up(c)
        return made


def expected(firm: Firm) -> str:
    """The digest of the whole record's entries, as PostgreSQL holds them when it is made anew."""
    with connect(firm) as c:
        made = indexing(firm)
        made.prepare(c)
        assert made.rebuild(c)
        return in_postgres(c)


def fill(firm: Firm, people: int = 20) -> dict[str, Any]:
    """Some of most kinds, some of it gone again; answers ids."""
    for n in range(people):
        firm.do(CreateContact(given=f"Person{n}", family="Álvarez"))
    ada = firm.do(CreateContact(given="Ada", family="Lovelace", phones=[{"number": "+49 30 1234567"}], tags=["countess"]))["id"]
    firm.do(AmendContact(id=ada, job_title="Analyst"))
    note = firm.do(WriteNote(about_type="contact", about=ada, text="Wrote the first program"))["id"]
    gone = firm.do(WriteNote(about_type="contact", about=ada, text="An ephemeral remark"))["id"]
    firm.do(RemoveNote(id=gone))
    task = firm.do(CreateTask(title="Weave algebra"))["id"]
    for n in range(3):
        firm.do(CommentTask(id=task, text=f"Remark {n}"))
    return {"ada": ada, "note": note, "gone": gone, "task": task}
