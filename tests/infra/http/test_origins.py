"""Pages of other origins call from a browser where the settings name them, and only there."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pydantic import ValidationError
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from infra.http.app import Door, Metrics
from infra.http.connection import Crowd
from infra.http.origins import Origins
from infra.settings import Settings

APP = "https://app.example.com"
ASKS = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,if-match"}


async def reached(scope: Scope, receive: Receive, send: Send) -> None:
    answer = PlainTextResponse(scope["method"], headers={"ETag": '"1"'})
    await answer(scope, receive, send)


def client(origins: str | None, most: int = 9) -> httpx.AsyncClient:
    metrics = Metrics()
    door = Door(reached, metrics, Crowd(most, turned_away=lambda: None), Origins(origins))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://chancery")


@pytest_asyncio.fixture
async def named() -> AsyncIterator[httpx.AsyncClient]:
    async with client(f"{APP}, http://localhost:5173/") as c:
        yield c


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
async def test_a_page_that_is_named_may_ask_first_and_read_the_answer(named: httpx.AsyncClient, origin: str) -> None:
    asked = await named.options("/v1/deals", headers=ASKS | {"Origin": origin})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, origin)
    allowed = asked.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "if-match", "idempotency-key", "chancery-position", "last-event-id"} <= set(allowed)
    assert {"GET", "POST"} <= set(asked.headers["Access-Control-Allow-Methods"].split(", "))
    read = await named.get("/v1/deals", headers={"Origin": origin})
    assert (read.text, read.headers["Access-Control-Allow-Origin"]) == ("GET", origin)
    shown = read.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "Chancery-Position", "Retry-After", "Location"} <= set(shown)
    assert read.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in read.headers


async def test_another_page_is_told_nothing(named: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example.com", "https://app.example.com.evil", "http://app.example.com", "null"):
        asked = await named.options("/v1/deals", headers=ASKS | {"Origin": origin})
        read = await named.get("/v1/deals", headers={"Origin": origin})
        for answer in (asked, read):
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Origin" not in (await named.get("/metrics", headers={"Origin": APP})).headers


async def test_where_no_page_is_named_nothing_changes() -> None:
    async with client(None) as c:
        for answer in (await c.options("/v1/deals", headers=ASKS), await c.get("/v1/deals", headers={"Origin": APP})):
            assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


async def test_a_refusal_at_the_door_can_be_read_by_the_page_too() -> None:
    async with client(APP, most=0) as c:
        refused = await c.get("/v1/deals", headers={"Origin": APP})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (503, APP)


@pytest.mark.parametrize("wrong", ["*", "app.example.com", "https://app.example.com/path", f"{APP};{APP}", "https://a b"])
def test_what_is_no_origin_is_refused_at_the_start(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not origins"):
        Settings(data=tmp_path, origins=wrong)
