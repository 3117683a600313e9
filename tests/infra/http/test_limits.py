"""How much one caller may ask, and what the rest of the callers notice of it."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest
import pytest_asyncio

from domain.keys import KeyId, compose, public_id
from infra.database import Database
from infra.http import app, service
from infra.http.connection import Connection
from infra.record.appender import Busy
from infra.settings import Settings
from queries.keys import authenticate
from tests.house import House, a_house
from tests.infra.http.conftest import Served, read_answer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(settings: Settings, database: Database) -> AsyncIterator[House]:
    """A house that allows ten requests at once and one in a thousand seconds after that, and 300 a day."""
    tight = settings.model_copy(update={"rate_per_second": 0.001, "rate_burst": 10, "requests_per_day": 300})
    async with a_house(tight, database) as opened:
        yield opened


def the_door(house: House) -> app.Door:
    door = house._app.middleware_stack
    while not isinstance(door, app.Door):
        door = door.app
    return door


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def test_who_asks_too_often_is_told_how_long_to_wait_and_another_key_is_served(strict: House) -> None:
    other = await strict.another_firm()
    answers = [await strict.client.get("/v1/me") for _ in range(12)]
    assert [a.status_code for a in answers] == [200] * 10 + [429] * 2
    assert kind(answers[-1]) == (429, "too-many-requests")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 1_000
    assert (await other.client.get("/v1/me")).status_code == 200


async def test_a_firm_has_a_quota_a_day_that_outlives_the_process(
    strict: House, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm = await strict.another_firm()
    midnight = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)

    class OneDay(datetime):
        """A clock that does not come to midnight while this runs."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(min(time.time(), midnight.timestamp() - 1), tz)

    monkeypatch.setattr(service, "datetime", OneDay)
    generous = settings.model_copy(update={"requests_per_day": 15})
    async with a_house(generous, database) as first:
        client = House(first.chancery, first._app, str(firm.firm), firm.key).client
        for _ in range(9):
            assert (await client.get("/v1/me")).status_code == 200
    async with a_house(generous, database) as second:
        client = House(second.chancery, second._app, str(firm.firm), firm.key).client
        began = datetime.now(UTC)
        answers = [await client.get("/v1/me") for _ in range(8)]
        assert [a.status_code for a in answers] == [200] * 6 + [429] * 2
        assert kind(answers[-1]) == (429, "quota-used-up")
        left = max((midnight - datetime.now(UTC)).total_seconds(), 0)
        assert left <= int(answers[-1].headers["retry-after"]) <= (midnight - began).total_seconds() + 1
        assert (await second.client.get("/v1/me")).status_code == 200


async def test_a_server_at_its_limit_says_so_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def slowly(*args: object) -> object:
        await gate.wait()
        return await authenticate(*args)  # type: ignore[arg-type]

    await house.client.get("/v1/me")
    door = the_door(house)
    monkeypatch.setattr(service, "authenticate", slowly)
    monkeypatch.setattr(door.crowd, "most", 5)
    house._app.state.service._known.clear()
    waiting = [asyncio.create_task(house.client.get("/v1/me")) for _ in range(5)]
    while door.crowd.in_flight < 5:
        await asyncio.sleep(0)
    refused = await house.client.get("/v1/me")
    assert kind(refused) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    gate.set()
    assert {a.status_code for a in await asyncio.gather(*waiting)} == {200}
    assert door.crowd.in_flight == 0


async def test_a_read_that_takes_too_long_is_ended_and_told_to_ask_for_less(settings: Settings, database: Database) -> None:
    hasty = settings.model_copy(update={"statement_timeout_ms": 3_000})
    async with a_house(hasty, database) as house:
        async with house.chancery.readers.reading(house.firm) as r:
            assert await r.one("SELECT current_setting('statement_timeout') AS most") == {"most": "3s"}
        with psycopg.connect(database.admin_conninfo()) as c:
            c.execute("LOCK TABLE views.relations IN ACCESS EXCLUSIVE MODE")  # as long as a slow filter would take
            refused = await house.client.get("/v1/relations", params={"filter": "kind = works_at"})
            assert kind(refused) == (503, "too-expensive")
            assert "Narrow the filter" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) >= 1
            assert (await house.client.get("/v1/contacts")).status_code == 200
        assert (await house.client.get("/v1/relations", params={"filter": "kind = works_at"})).status_code == 200


async def test_a_full_queue_of_commands_is_busy_not_broken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_append: object) -> None:
        raise Busy

    monkeypatch.setattr(house.chancery.appender, "append", full)
    refused = await house.client.post("/v1/contacts", json={"given": "Ann"})
    assert kind(refused) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1


async def test_ten_thousand_bad_keys_neither_reach_the_database_nor_touch_good_ones(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def counted(*args: object) -> object:
        nonlocal asked
        asked += 1
        return await authenticate(*args)  # type: ignore[arg-type]

    assert (await house.client.get("/v1/me")).status_code == 200
    monkeypatch.setattr(service, "authenticate", counted)
    stranger = house.as_key(None)
    own = house.key.split("_")[1]
    bad = [compose(own if i % 2 else public_id(house.firm, KeyId(uuid4())), f"{i:032d}") for i in range(10_000)]
    statuses: set[int] = set()
    started = time.monotonic()
    for i, text in enumerate(bad):
        statuses.add((await stranger.get("/v1/me", headers={"Authorization": f"Bearer {text}"})).status_code)
        if i % 1_000 == 0:
            assert (await house.client.get("/v1/me")).status_code == 200
    allowed = service.REFUSED_BURST + service.REFUSED_PER_SECOND * (time.monotonic() - started)
    assert statuses == {401, 429}
    assert asked <= allowed + 5
    house._app.state.service.chancery.feed._epoch += 1  # what is known of every key is to be asked again
    assert (await house.client.get("/v1/me")).status_code == 200


async def test_a_write_to_one_firm_does_not_make_other_keys_be_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def counted(*args: object) -> object:
        nonlocal asked
        asked += 1
        return await authenticate(*args)  # type: ignore[arg-type]

    await house.settle()
    await house.client.get("/v1/me")
    monkeypatch.setattr(service, "authenticate", counted)
    for _ in range(20):
        await house.client.post("/v1/contacts", json={"given": "Ann"})
    await house.settle()
    await house.client.get("/v1/me")
    assert asked == 0
    await house.client.post("/v1/keys", json={"name": "K", "role": "adviser"})
    await house.settle()
    await house.client.get("/v1/me")
    assert asked == 1


async def test_a_fresh_key_works_at_once_for_who_sends_the_position_of_its_issue(house: House) -> None:
    made = await house.client.post("/v1/keys", json={"name": "K", "role": "adviser"})
    fresh = house.as_key(made.json()["api_key"])
    answer = await fresh.get("/v1/me", headers={"Chancery-Position": made.headers["chancery-position"]})
    assert answer.status_code == 200, answer.text


async def test_last_use_of_a_key_is_told(house: House) -> None:
    me = (await house.client.get("/v1/me")).json()
    await house._app.state.service._flush()
    assert (await house.client.get(f"/v1/keys/{me['key_id']}/use")).json()["last_used_at"] is not None


async def test_a_caller_who_reads_nothing_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "STALLED_SECONDS", 0.5)
    stored = await served.house.client.post("/v1/uploads", content=b"x" * 20_000_000)
    assert stored.status_code == 201, stored.text
    body = {"version": {"sha256": stored.json()["sha256"], "file_name": "big.bin"}}
    made = await served.house.client.post("/v1/documents", json=body)
    assert made.status_code == 201, made.text
    await served.house.settle()
    door = the_door(served.house)
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1_024)
    writer.write(
        f"GET /v1/documents/{made.json()['id']}/versions/1/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.house.key}\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        while door.crowd.in_flight == 0:
            await asyncio.sleep(0.01)
        while door.crowd.in_flight:
            await asyncio.sleep(0.05)
    writer.close()


async def test_a_full_server_turns_requests_away_before_any_work_and_keeps_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = served.house._app.state.crowd
    monkeypatch.setattr(Connection, "crowd", crowd)
    monkeypatch.setattr(crowd, "most", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    key = f"Authorization: Bearer {served.house.key}\r\n"
    for _ in range(3):
        writer.write(f"POST /v1/contacts HTTP/1.1\r\nHost: x\r\n{key}X-Request-Id: mine\r\nContent-Length: 15\r\n\r\n".encode())
        writer.write(b'{"given":"Ann"}')
        status, headers, body = await read_answer(reader)
        assert (status, headers["retry-after"], headers["x-request-id"]) == (503, "1", "mine")
        assert orjson.loads(body)["type"] == "urn:chancery:problem:overloaded"
    writer.write(b"HEAD /v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
    status, _, body = await read_answer(reader, bodiless=True)
    assert (status, body) == (503, b"")
    monkeypatch.undo()
    writer.write(f"GET /v1/me HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
    status, _, _ = await read_answer(reader)
    assert status == 200
    writer.close()


async def test_of_requests_that_come_in_one_turn_no_more_are_begun_than_there_is_room_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = served.house._app.state.crowd
    turned_away: list[int] = []
    gate = asyncio.Event()

    async def slowly(*args: object) -> object:
        await gate.wait()
        return await authenticate(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "authenticate", slowly)
    monkeypatch.setattr(Connection, "crowd", crowd)
    monkeypatch.setattr(crowd, "most", 3)
    monkeypatch.setattr(crowd, "turned_away", lambda: turned_away.append(1))
    served.house._app.state.service._known.clear()
    opened = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(12)]
    for _, writer in opened:
        writer.write(f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.house.key}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        while len(turned_away) < 9:
            await asyncio.sleep(0)
    assert crowd.in_flight == 3
    gate.set()
    statuses = sorted([(await read_answer(reader))[0] for reader, _ in opened])
    assert statuses == [200] * 3 + [503] * 9
    assert crowd.in_flight == 0
    for _, writer in opened:
        writer.close()
