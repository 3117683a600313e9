"""Live changes, over a real socket: nothing missed, nothing twice, nothing that is not the caller's to see."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from domain.members import Role
from infra.http import changes
from tests.house import House
from tests.infra.http.conftest import Served, serving
from tests.processes import PATIENCE


class Listener:
    """Reads a stream of changes as a browser would."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The rows of the next position, which stands under `id`."""
        rows: list[dict[str, Any]] = []
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if line.startswith("data: "):
                    rows.append(orjson.loads(line[6:]))
                    assert list(rows[-1]) == ["position", "view", "type", "id", "occurred_at"]
                elif line.startswith("id: "):
                    ((position, type),) = {(r["position"], r["type"]) for r in rows}
                    changes = [{"view": r["view"], "id": r["id"]} for r in rows]
                    return {"id": line[4:], "position": position, "type": type, "changes": changes}
        raise EOFError

    async def until(self, position: int) -> list[dict[str, Any]]:
        out = [await self.next()]
        while out[-1]["position"] < position:
            out.append(await self.next())
        return out

    async def ends(self, seconds: float = PATIENCE) -> bool:
        async with asyncio.timeout(seconds):
            async for _ in self._lines:
                pass
        return True


@asynccontextmanager
async def listening(served: Served, *, key: str | None = None, last: str | None = None, query: str = "") -> AsyncIterator[Listener]:
    headers = {"Authorization": f"Bearer {key or served.house.key}", **({"Last-Event-ID": last} if last else {})}
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(headers=headers, timeout=PATIENCE, limits=limits) as client,
        client.stream("GET", f"{served.url}/v1/changes{query}") as response,
    ):
        heard = Listener(response)
        if response.status_code == 200:
            assert await anext(heard._lines) == "retry: 2000"
        yield heard


async def a_contact(house: House) -> tuple[str, int]:
    made = await house.client.post("/v1/contacts", json={"given": "Ann"})
    assert made.status_code == 201, made.text
    return made.json()["id"], made.json()["position"]


async def test_a_change_is_told_with_the_rows_it_touched_once_a_read_shows_them(served: Served) -> None:
    async with listening(served, query="?views=contacts") as heard:
        id, position = await a_contact(served.house)
        change = await heard.next()
        assert change["id"] == str(position)
        assert (change["position"], change["type"]) == (position, "contacts.Created.v1")
        assert change["changes"] == [{"view": "contacts", "id": id}]
        assert (await served.house.client.get(f"/v1/contacts/{id}")).status_code == 200


async def test_rows_inside_other_records_are_told_of_too(served: Served) -> None:
    pipeline = {"name": f"P {uuid4()}", "stages": [{"name": "One"}, {"name": "Two"}]}
    async with listening(served, query="?views=stages") as heard:
        await a_contact(served.house)
        await served.house.client.post("/v1/pipelines", json=pipeline)
        change = await heard.next()
        assert {c["view"] for c in change["changes"]} == {"stages"}
        assert len(change["changes"]) == 2


async def test_a_stream_cut_off_in_the_middle_of_an_event_tells_all_of_it_again(served: Served) -> None:
    before = await served.house.settle()
    pipeline = {"name": f"P {uuid4()}", "stages": [{"name": "One"}, {"name": "Two"}]}
    await served.house.client.post("/v1/pipelines", json=pipeline)
    await served.house.settle()
    heard_of = []
    async with listening(served, last=str(before)) as heard:
        async for line in heard._lines:
            assert not line.startswith("id: "), "a row of more than one position's was to be the first"
            if line.startswith("data: "):
                heard_of.append(orjson.loads(line[6:]))
                break
    async with listening(served, last=str(before)) as heard:
        again = await heard.next()
    assert again["position"] == heard_of[0]["position"]
    assert {"view": heard_of[0]["view"], "id": heard_of[0]["id"]} in again["changes"]
    assert len(again["changes"]) >= 3


async def test_a_stream_resumed_at_any_place_misses_nothing_and_repeats_nothing(served: Served) -> None:
    before = await served.house.settle()
    for _ in range(20):
        _, last = await a_contact(served.house)
    await served.house.settle()
    async with listening(served, last=str(before)) as heard:
        whole = [c["position"] for c in await heard.until(last)]
    assert whole == sorted(set(whole))
    assert len(whole) == 20
    for cut in (0, 7, 19):
        async with listening(served, last=str(whole[cut - 1]) if cut else str(before)) as heard:
            assert [c["position"] for c in await heard.until(last)] == whole[cut:]


async def test_a_stream_goes_on_over_a_restart_of_the_server_and_while_others_write(served: Served) -> None:
    before = await served.house.settle()
    written: list[int] = []

    async def write() -> None:
        for _ in range(60):
            written.append((await a_contact(served.house))[1])  # noqa: PERF401 - read while it grows

    writing = asyncio.create_task(write())
    told: list[int] = []
    last = str(before)
    while len(told) < 40:
        async with serving(served.house) as another, listening(another, last=last) as heard:
            for _ in range(10):
                change = await heard.next()
                told.append(change["position"])
                last = change["id"]
    await writing
    async with listening(served, last=last) as heard:
        told += [c["position"] for c in await heard.until(written[-1])]
    assert told == written


async def test_more_than_memory_holds_is_read_from_the_record(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEPT", 5)
    monkeypatch.setattr(changes, "BATCH", 7)
    before = await served.house.settle()
    async with listening(served) as live:
        positions = [(await a_contact(served.house))[1] for _ in range(30)]
        async with listening(served, last=str(before)) as late:
            assert [c["position"] for c in await late.until(positions[-1])] == positions
        assert [c["position"] for c in await live.until(positions[-1])] == positions


async def test_nobody_hears_of_another_firm_or_of_what_they_may_not_read(served: Served) -> None:
    other = await served.house.another_firm()
    reader = await served.house.as_role(Role.READ_ONLY)
    key = reader.headers["authorization"].removeprefix("Bearer ")
    async with listening(served, key=key) as heard, listening(served, key=other.key) as foreign:
        await served.house.client.post("/v1/keys", json={"name": "Unheard of", "role": "adviser"})
        id, _ = await a_contact(served.house)
        change = await heard.next()
        assert {c["view"] for c in change["changes"]} == {"contacts"}
        theirs, _ = await a_contact(other)
        assert (await foreign.next())["changes"] == [{"view": "contacts", "id": theirs}]
        assert id != theirs


async def test_a_stream_ends_soon_after_its_key_is_revoked_even_when_it_is_busy(served: Served) -> None:
    made = (await served.house.client.post("/v1/keys", json={"name": "Brief", "role": "adviser"})).json()
    await served.house.settle()
    async with listening(served, key=made["api_key"]) as heard:
        await served.house.client.post(f"/v1/keys/{made['id']}:revoke", json={})
        for _ in range(3):
            await a_contact(served.house)
        assert await heard.ends()


async def test_a_quiet_stream_says_that_it_is_alive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "HEARTBEAT", 0.1)
    async with listening(served) as heard:
        async with asyncio.timeout(PATIENCE):
            async for line in heard._lines:
                if line == ": still here":
                    break


@pytest.mark.parametrize("query", ["?views=nothing", "?after=x", "?after=%C2%B2", "?until=3", "?after=-1"])
async def test_what_a_stream_cant_follow_is_refused(served: Served, query: str) -> None:
    assert (await served.house.client.get(f"/v1/changes{query}")).status_code == 400


async def test_a_place_that_the_record_does_not_have_is_refused(served: Served) -> None:
    answer = await served.house.client.get("/v1/changes", headers={"Last-Event-ID": "9" * 17})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:chancery:problem:position-unknown")


async def test_a_key_keeps_so_many_streams_and_gets_the_room_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    service = served.house._app.state.service
    settings = service.chancery.settings.model_copy(update={"max_streams_per_key": 2, "max_streams": 3})
    monkeypatch.setattr(service.chancery, "settings", settings)
    other = await served.house.another_firm()
    async with listening(served), listening(served):
        async with listening(served) as third:
            assert third.response.status_code == 429
            assert int(third.response.headers["retry-after"]) >= 1
        async with listening(served, key=other.key) as theirs:
            assert theirs.response.status_code == 200
            async with listening(served, key=other.key) as fourth:
                assert fourth.response.status_code == 503
    async with asyncio.timeout(PATIENCE):
        while service.streams.total():
            await asyncio.sleep(0.01)
    async with listening(served) as heard:
        assert heard.response.status_code == 200


async def test_two_hundred_listeners_hear_of_everything_for_one_read_a_batch(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = served.house._app.state.service
    monkeypatch.setattr(service.chancery, "settings", service.chancery.settings.model_copy(update={"max_streams_per_key": 300}))
    await served.house.settle()  # else who comes first begins behind who came before it
    reads = 0
    read = changes.Changes.read

    async def counted(self: changes.Changes, *args: Any) -> list[changes.Change]:
        nonlocal reads
        reads += 1
        return await read(self, *args)

    monkeypatch.setattr(changes.Changes, "read", counted)
    async with asyncio.timeout(5 * PATIENCE):
        streams = [listening(served) for _ in range(200)]
        heard = await asyncio.gather(*(s.__aenter__() for s in streams))
        async with asyncio.timeout(PATIENCE):
            while service.streams.total() < 200:
                await asyncio.sleep(0.01)
        positions = [(await a_contact(served.house))[1] for _ in range(10)]
        told = await asyncio.gather(*(h.until(positions[-1]) for h in heard))
        assert all([c["position"] for c in t] == positions for t in told)
        assert reads <= 20
        await asyncio.gather(*(s.__aexit__(None, None, None) for s in streams))
