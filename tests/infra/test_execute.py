"""Carrying out commands: on what the database says, once, with the first answer, whatever other processes did meanwhile."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from commands.contacts import AmendContact, CreateContact
from commands.kernel import Actor, Stale
from commands.keys import IssueKey
from domain.kernel import FirmId, NotFound
from domain.members import ALL_PERMISSIONS, Role
from infra.database import Database
from infra.record import wire
from infra.record.appender import Append, Appended, Appender, CommandIdReused, transaction
from infra.record.execute import Executor
from infra.record.vault import Vault
from tests.infra.test_vault import an_executor
from tests.infra.writing import no_one_appends, scalar

FIRM = FirmId(uuid4())
HOW: dict[str, Any] = {"firm": FIRM, "actor": Actor("system", "tests"), "permissions": ALL_PERMISSIONS}


@pytest_asyncio.fixture
async def here(fresh: Database, appender: Appender, vault: Vault) -> AsyncIterator[Executor]:
    async with an_executor(fresh, appender, vault) as executor:
        yield executor


@pytest_asyncio.fixture
async def there(fresh: Database, appender: Appender, vault: Vault) -> AsyncIterator[Executor]:
    """Another process's executor: it remembers other states."""
    async with an_executor(fresh, appender, vault) as executor:
        yield executor


async def a_contact(executor: Executor) -> UUID:
    made = await executor.execute(CreateContact(display_name="Ada"), **HOW)
    return UUID(str(made.body["id"]))


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("key", [str(uuid4()), "invoice 17"], ids=["uuid", "text"])
async def test_the_same_key_gives_the_first_answer_in_every_process_and_another_body_is_refused(
    here: Executor, there: Executor, key: str
) -> None:
    first = await here.execute(CreateContact(display_name="Ada"), idempotency_key=key, **HOW)
    again = await there.execute(CreateContact(display_name="Ada"), idempotency_key=key, **HOW)
    assert (again.body, again.position, again.replayed) == (first.body, first.position, True)
    with pytest.raises(CommandIdReused):
        await there.execute(CreateContact(display_name="Grace"), idempotency_key=key, **HOW)
    elsewhere = await there.execute(CreateContact(display_name="Grace"), idempotency_key=key, **{**HOW, "firm": FirmId(uuid4())})
    assert not elsewhere.replayed


async def test_a_version_another_process_made_is_not_taken_for_stale(here: Executor, there: Executor) -> None:
    id = await a_contact(here)
    changed = await there.execute(AmendContact(id=id, job_title="Countess"), target=id, **HOW)
    assert changed.body["version"] == 2
    done = await here.execute(AmendContact(id=id, job_title="Analyst"), target=id, expected_version=2, **HOW)
    assert done.body["version"] == 3
    with pytest.raises(Stale) as stale:
        await there.execute(AmendContact(id=id, job_title="Poet"), target=id, expected_version=2, **HOW)
    assert stale.value.about == {"version": 3, "expected": 2}


async def test_a_decision_on_remembered_state_is_made_again_when_another_process_was_faster(
    here: Executor, there: Executor
) -> None:
    id = await a_contact(here)
    for title in ("One", "Two", "Three"):
        await there.execute(AmendContact(id=id, job_title=title), target=id, **HOW)
        await here.execute(AmendContact(id=id, job_title=f"{title} and a half"), target=id, **HOW)
    assert (await there.execute(AmendContact(id=id, job_title="Four"), target=id, **HOW)).body["version"] == 8


@pytest.mark.invariant("I9")
async def test_another_firms_record_is_not_found(here: Executor) -> None:
    id = await a_contact(here)
    with pytest.raises(NotFound):
        await here.execute(AmendContact(id=id, job_title="Spy"), target=id, **{**HOW, "firm": FirmId(uuid4())})


@pytest.mark.invariant("I5")
async def test_a_secret_is_still_shown_when_the_word_of_its_commit_was_lost(
    fresh: Database, here: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushing = transaction.flushing
    broken: list[int] = []

    def breaks_once(pipe: wire.Pipe, batch: list[Append], **how: Any) -> wire.Talk[list[Appended | BaseException]]:
        results = yield from flushing(pipe, batch, **how)
        if not broken:
            broken.append(len(batch))
            raise psycopg.OperationalError("the connection is lost")
        return results

    monkeypatch.setattr(transaction, "flushing", breaks_once)
    issued = await here.execute(IssueKey(name="A key", role=Role.OWNER), **HOW)
    assert broken == [1]
    assert issued.shown_once["api_key"]
    assert not issued.replayed
    assert scalar(fresh, "SELECT count(*) FROM record.events WHERE type = 'keys.Issued.v1'") == 1
    assert (
        scalar(fresh, "SELECT count(*) FROM record.commands WHERE answer LIKE %s", f"%{issued.shown_once['api_key']}%".encode())
        == 0
    )


async def test_states_are_not_remembered_longer_than_a_minute(here: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.record import execute

    assert execute.STATE_SECONDS <= 60
    monkeypatch.setattr(execute, "STATE_SECONDS", -1.0)
    gone = await a_contact(here)
    monkeypatch.undo()
    kept = await a_contact(here)
    remembered = {id for _, _, id in here._memory._states}
    assert (gone.int in remembered, kept.int in remembered) == (False, True)


async def test_commands_that_wait_for_the_same_moment_are_written_together(fresh: Database, here: Executor) -> None:
    import asyncio

    with no_one_appends(fresh):
        waiting = [asyncio.create_task(a_contact(here)) for _ in range(20)]
        await asyncio.sleep(0)
    ids = await asyncio.gather(*waiting)
    assert len(set(ids)) == 20
    assert scalar(fresh, "SELECT position FROM record.head") == 20


async def test_commands_on_one_stream_at_once_are_each_decided_on_what_the_others_did(here: Executor, fresh: Database) -> None:
    import asyncio

    id = await a_contact(here)
    done = await asyncio.gather(*(here.execute(AmendContact(id=id, job_title=f"Title {n}"), target=id, **HOW) for n in range(6)))
    assert sorted(a.body["version"] for a in done) == [2, 3, 4, 5, 6, 7]
    assert scalar(fresh, "SELECT max(stream_version) FROM record.events WHERE stream_id = %s", id) == 7


async def test_a_remembered_state_that_the_database_has_lost_is_forgotten(here: Executor, fresh: Database) -> None:
    id = await a_contact(here)
    await here.execute(AmendContact(id=id, job_title="Countess"), target=id, **HOW)
    with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:  # as a restore leaves it
        c.execute("SET session_replication_role = replica")
        c.execute("DELETE FROM record.events WHERE stream_id = %s AND stream_version = 2", (id,))
        c.execute("UPDATE record.streams SET version = 1 WHERE stream_id = %s", (id,))
        c.execute("UPDATE record.firm_heads SET firm_position = firm_position - 1")
        c.execute("UPDATE record.head SET position = position - 1")
    done = await here.execute(AmendContact(id=id, job_title="Analyst"), target=id, **HOW)
    assert done.body["version"] == 2
