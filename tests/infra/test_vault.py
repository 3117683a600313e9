"""Sealing: what binds a sealed value to its place, what is left when its key is gone, how long a key is kept."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from psycopg_pool import AsyncConnectionPool

from commands.contacts import CreateContact
from commands.kernel import Actor
from domain.contacts import ContactCreated
from domain.kernel import FirmId
from infra.database import Database
from infra.record import vault as vaults
from infra.record.appender import Appender
from infra.record.codec import Disclosure, b64url, disclose
from infra.record.execute import Executor
from infra.record.reader import replay
from infra.record.vault import DataKey, KeysUnusable, Vault

FIRM = FirmId(uuid4())
ACTOR = Actor("system", "tests")


def a_disclosure(name: str = "name", value: str = "Ada") -> Disclosure:
    return Disclosure(uuid4(), "relationship", b64url(json.dumps([b64url(b"s" * 16), name, value]).encode()))


@asynccontextmanager
async def an_executor(database: Database, appender: Appender, vault: Vault) -> AsyncIterator[Executor]:
    async with AsyncConnectionPool(database.conninfo("record"), min_size=1, max_size=4, kwargs={"autocommit": True}) as pool:
        yield Executor(pool, appender, vault)


@pytest.fixture
def key(vault: Vault) -> DataKey:
    return vault.create(FIRM, uuid4(), "relationship")[0]


@pytest.mark.parametrize("changed", ["firm", "stream", "event"])
def test_a_sealed_value_opens_in_its_own_firm_stream_and_event_only(vault: Vault, key: DataKey, changed: str) -> None:
    place = {"firm": FIRM, "stream": uuid4(), "event": uuid4()}
    sealed = vault.seal(place["stream"], place["event"], place["firm"], [(key, a_disclosure())])
    keys = {key.key_id: key.cipher}
    assert disclose(vault.open(place["firm"], place["stream"], place["event"], sealed, keys)) == {"name": "Ada"}
    moved = place | {changed: uuid4()}
    with pytest.raises(InvalidTag):
        vault.open(moved["firm"], moved["stream"], moved["event"], sealed, keys)


def test_sealed_values_of_one_event_can_not_change_places(vault: Vault, key: DataKey) -> None:
    stream, event = uuid4(), uuid4()
    sealed = json.loads(vault.seal(stream, event, FIRM, [(key, a_disclosure("a")), (key, a_disclosure("b"))]))
    with pytest.raises(InvalidTag):
        vault.open(FIRM, stream, event, json.dumps(sealed[::-1]).encode(), {key.key_id: key.cipher})


@pytest.mark.parametrize("changed", range(4))
def test_a_wrapped_key_unwraps_as_what_it_is_only(vault: Vault, changed: int) -> None:
    _, row = vault.create(FIRM, uuid4(), "relationship")
    unwrap = partial(vault.unwrap, epoch=row.epoch, wrapped=row.wrapped)
    names: list[Any] = [row.firm, row.key_id, row.subject, row.purpose]
    assert unwrap(*names).key_id == row.key_id
    names[changed] = "marketing" if changed == 3 else uuid4()
    with pytest.raises(KeysUnusable):
        unwrap(*names)


def test_keys_leave_memory_in_time_also_when_nobody_asks(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vaults.KEY_SECONDS <= 60
    subject = uuid4()

    def used() -> None:
        for _ in range(3):
            key, row = vault.create(FIRM, subject, "relationship")
            vault.unwrap(FIRM, key.key_id, subject, "relationship", row.epoch, row.wrapped)

    used()
    assert vault.known(FIRM, subject, "relationship") is not None
    vault.forget_all()
    monkeypatch.setattr(vaults, "KEY_SECONDS", 0.05)
    used()
    until = time.monotonic() + 60
    while vault._by_id or vault._by_subject:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_using_a_key_does_not_lengthen_its_stay(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    key, row = vault.create(FIRM, uuid4(), "relationship")
    vault.unwrap(FIRM, key.key_id, row.subject, "relationship", row.epoch, row.wrapped)
    sealed = vault.seal(uuid4(), uuid4(), FIRM, [(key, a_disclosure())])
    before = vault._by_id[(FIRM.int, key.key_id.int)][0]
    held, missing = vault.held([(FIRM, sealed)])
    assert (set(held), missing) == ({key.key_id}, set())
    assert vault.known(FIRM, row.subject, "relationship") is not None
    assert vault._by_id[(FIRM.int, key.key_id.int)][0] == before
    assert vault.held([(uuid4(), sealed)])[0] == {}  # never for another firm


def test_a_forgotten_subject_is_gone_from_memory_at_once(vault: Vault) -> None:
    for subject in (gone := uuid4(), kept := uuid4()):
        key, row = vault.create(FIRM, subject, "relationship")
        vault.unwrap(FIRM, key.key_id, subject, "relationship", row.epoch, row.wrapped)
    vault.forget(FIRM, gone)
    assert vault.known(FIRM, gone, "relationship") is None
    assert vault.known(FIRM, kept, "relationship") is not None
    assert len(vault._by_id) == 1


def test_a_second_process_uses_the_keys_of_the_first_and_a_damaged_key_is_named(tmp_path: Path) -> None:
    first, second = Vault(tmp_path / "k"), Vault(tmp_path / "k")
    assert first.mac(FIRM, "p", b"m") == second.mac(FIRM, "p", b"m")
    key, row = first.create(FIRM, uuid4(), "relationship")
    assert second.unwrap(FIRM, key.key_id, row.subject, "relationship", row.epoch, row.wrapped).key_id == key.key_id
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "k").iterdir()} == {0o600}
    (tmp_path / "k" / "digest.key").write_bytes(b"short")
    with pytest.raises(KeysUnusable, match=r"digest\.key"):
        Vault(tmp_path / "k")


@pytest.mark.invariant("I11")
async def test_an_event_whose_key_is_destroyed_still_loads_its_value_is_empty_and_its_leaf_is_as_it_was(
    fresh: Database, appender: Appender, vault: Vault, tmp_path: Path
) -> None:
    async with an_executor(fresh, appender, vault) as executor:
        answers = [
            await executor.execute(
                CreateContact(display_name=name), firm=FIRM, actor=ACTOR, permissions=frozenset({"contacts:write"})
            )
            for name in ("Ada Lovelace", "Grace Hopper")
        ]
    gone, kept = (UUID(str(a.body["id"])) for a in answers)
    with fresh.connect("record") as c:
        leaves = c.execute("SELECT position, public FROM record.events ORDER BY position").fetchall()
        assert not any(b"Ada Lovelace" in leaf or b"Grace Hopper" in leaf for _, leaf in leaves)
        c.execute("DELETE FROM vault.data_keys WHERE subject_id = %s", (gone,))
        after = {r.stream_id: r.event for r in replay(c, Vault(tmp_path / "keys"))}
        assert isinstance(after[gone], ContactCreated)
        assert after[gone].profile is None
        assert after[kept].profile is not None
        c.execute("UPDATE record.events SET sealed = NULL WHERE stream_id = %s", (gone,))
        assert {r.stream_id: r.event for r in replay(c, Vault(tmp_path / "keys"))} == after
        assert c.execute("SELECT position, public FROM record.events ORDER BY position").fetchall() == leaves


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE record.events SET public = public",
        "UPDATE record.events SET sealed = 'x'",
        "UPDATE record.events SET type = 'tests.Other.v1'",
        "UPDATE record.commands SET answer = ''",
        "DELETE FROM record.events",
        "DELETE FROM record.commands",
        "TRUNCATE record.events",
        "DELETE FROM record.head",
    ],
)
def test_no_role_that_serves_can_change_what_is_recorded(fresh: Database, appender: Appender, change: str) -> None:
    from tests.infra.writing import an_append, together

    together(appender, [an_append(sealed=b"sealed")])
    for role in ("app", "record"):
        with fresh.connect(role) as c:
            c.execute("SET default_transaction_read_only = off")
            c.execute("SELECT set_config('chancery.firm', %s, false)", (str(UUID(int=0xF1)),))
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityConstraintViolation)):
                c.execute(change.encode())
