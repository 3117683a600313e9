"""States come from the database as its events say, many at a time, with whatever keys they need, also after the server was away."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from commands.contacts import CreateContact
from commands.deals import NoteOnDeal, OpenDeal
from commands.kernel import Actor
from commands.pipelines import DefinePipeline, NewStage
from domain.contacts import CONTACT
from domain.deals import DEAL
from domain.kernel import FirmId, Stream
from domain.members import ALL_PERMISSIONS
from infra.database import Database
from infra.record.appender import Appender
from infra.record.bulk import Bulk, command_task
from infra.record.execute import Executor
from infra.record.vault import Vault
from tests.infra.test_vault import an_executor
from tests.infra.writing import scalar

FIRM = FirmId(uuid4())
ACTOR = Actor("system", "tests")


def deals_of_a_contact(database: Database, vault: Vault, count: int) -> tuple[UUID, list[UUID]]:
    """Deals with notes that are sealed under the key of their contact, not their own."""
    with Bulk(database, vault, firm=FIRM, actor=ACTOR, permissions=ALL_PERMISSIONS) as bulk:
        (defined,) = bulk.run([command_task(DefinePipeline(name="Mandates", stages=[NewStage(name="One")]), actor=ACTOR)])
        (made,) = bulk.run([command_task(CreateContact(display_name="Ada"), actor=ACTOR)])
        contact, pipeline = UUID(made.answer["id"]), UUID(defined.answer["id"])
        opening = (
            command_task(
                OpenDeal.model_validate(
                    {
                        "title": f"D{n}",
                        "pipeline": pipeline,
                        "parties": [{"kind": "contact", "party_id": contact, "role": "client"}],
                    }
                ),
                actor=ACTOR,
            )
            for n in range(count)
        )
        deals = [UUID(o.answer["id"]) for o in bulk.run(opening)]
        notes = (command_task(NoteOnDeal(id=d, note=f"note {n}"), actor=ACTOR) for d in deals for n in range(3))
        assert all(o.answer for o in bulk.run(notes))
    return contact, deals


async def by_folding(database: Database, vault: Vault, stream: Stream[Any, Any], id: UUID) -> tuple[object, int]:
    from infra.record.reader import read_stream

    state, version = stream.initial, 0
    async with await database.connect_async("record") as c:
        async for r in read_stream(c, vault, FIRM, stream.type, id):
            state, version = stream.evolve(state, r.event), r.version
    return state, version


async def test_many_streams_asked_for_at_once_are_each_as_their_events_say(
    fresh: Database, appender: Appender, vault: Vault, tmp_path: Path
) -> None:
    contact, deals = await asyncio.to_thread(deals_of_a_contact, fresh, vault, 40)
    async with an_executor(fresh, appender, Vault(tmp_path / "keys")) as executor:  # which has no key in memory
        nobody = uuid4()
        wanted: list[tuple[Stream[Any, Any], UUID]] = [*((DEAL, d) for d in deals), (CONTACT, contact), (DEAL, nobody)]
        loaded = await asyncio.gather(*(executor.load(FIRM, stream, id) for stream, id in wanted))
        for (stream, id), entity in zip(wanted, loaded, strict=True):
            assert (entity.stream, entity.id) == (stream, id)
            assert (entity.state, entity.version) == await by_folding(fresh, vault, stream, id)
        assert loaded[-1].version == 0
        assert loaded[-2].state.profile.display_name == "Ada"
        elsewhere = await executor.load(FirmId(uuid4()), DEAL, deals[0])
        assert elsewhere.version == 0


@pytest.mark.invariant("I11")
async def test_a_stream_whose_key_is_destroyed_loads_without_its_values(
    fresh: Database, appender: Appender, vault: Vault, tmp_path: Path
) -> None:
    contact, _ = await asyncio.to_thread(deals_of_a_contact, fresh, vault, 1)
    with fresh.connect("record") as c:
        c.execute("DELETE FROM vault.data_keys WHERE subject_id = %s", (contact,))
    async with an_executor(fresh, appender, Vault(tmp_path / "keys")) as executor:
        entity = await executor.load(FIRM, CONTACT, contact)
        assert entity.version == 1
        assert entity.state.profile.display_name is None


async def test_loads_go_on_after_their_connection_was_killed(fresh: Database, appender: Appender, vault: Vault) -> None:
    _, deals = await asyncio.to_thread(deals_of_a_contact, fresh, vault, 3)
    async with an_executor(fresh, appender, vault) as executor:

        async def version(executor: Executor, id: UUID) -> int:
            executor._memory.drop(FIRM, DEAL.type, id)
            return (await executor.load(FIRM, DEAL, id)).version

        assert await version(executor, deals[0]) == 4
        with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
            for _ in range(3):
                c.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'chancery-record' AND pid <> pg_backend_pid()"
                )
                assert await asyncio.gather(*(version(executor, d) for d in deals)) == [4, 4, 4]
    assert scalar(fresh, "SELECT count(*) FROM record.streams WHERE stream_type = 'deal'") == 3
