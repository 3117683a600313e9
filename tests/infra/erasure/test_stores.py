"""An engine that does not answer is said in words to whoever waits for an erasure."""

from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from infra.away import NotForgotten
from infra.database import Database
from infra.erasure.stores import Task, stores
from infra.erasure.subjects import Subjects
from infra.followers import parts
from infra.settings import Settings


@pytest.mark.invariant("PY9")
@pytest.mark.parametrize(
    ("store", "url", "why"),
    [
        ("search", {"elasticsearch_url": SecretStr("http://anna:hunter2@127.0.0.1:1")}, "Elasticsearch does not answer"),
        ("graph", {"neo4j_url": SecretStr("bolt://anna:hunter2@127.0.0.1:1")}, "Neo4j does not answer"),
    ],
)
async def test_an_engine_that_is_away_is_named(
    database: Database, tmp_path: Path, store: str, url: dict[str, SecretStr], why: str
) -> None:
    subjects = Subjects(firm=uuid4(), people=(uuid4(),), documents=(uuid4(),), kept=(), contents=())
    task = Task(parts(Settings(data=tmp_path).model_copy(update=url), database), subjects, [])
    (asked,) = [s for s in stores(task.parts) if s.name == store]
    with pytest.raises(NotForgotten, match=why) as said:
        await asked.purge(task)
    assert "hunter2" not in str(said.value)
