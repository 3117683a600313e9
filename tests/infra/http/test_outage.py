"""The database is taken away and comes back; nothing personal is in what was logged meanwhile."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
import structlog

from infra.database import Database, migrate
from infra.embedded import start
from infra.http import reads
from infra.logs import configure
from infra.settings import Settings
from tests.house import a_house
from tests.infra.http.conftest import Served, serving
from tests.infra.http.test_changes import a_contact, listening
from tests.processes import PATIENCE, killed_with_children

CANARY = "Kanarienvogel"


@pytest.fixture(scope="module")
def server() -> Iterator["Mortal"]:
    folder = Path(tempfile.mkdtemp(prefix="chancery-mortal-"))  # a server started by root runs as another user: not in pytest's own
    folder.chmod(0o755)
    mortal = Mortal(folder / "postgres")
    yield mortal
    mortal.start()
    mortal.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


class Mortal:
    """A PostgreSQL of this module's own, to be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = start(folder)
        self.database = Database(self.server.get_uri())
        migrate(self.database)

    def kill(self) -> None:
        killed_with_children(psutil.Process(self.server.get_pid()))
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):  # where nobody buries the dead, they would be taken for alive
            (self.folder / lock).unlink(missing_ok=True)

    def start(self) -> None:
        self.server = start(self.folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mortal(server: Mortal, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    settings = Settings(
        data=tmp_path_factory.mktemp("mortal-data"),
        database_url=server.database.admin_conninfo(),
        rate_per_second=100_000,
        rate_burst=100_000,
        log_format="json",
        log_level="debug",
    )
    async with a_house(settings, server.database) as house, serving(house) as served:
        yield served


async def until(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Wait until the address answers so."""
    async with asyncio.timeout(PATIENCE):
        while (await client.get(path)).status_code != status:
            await asyncio.sleep(0.02)


async def test_without_its_database_everything_is_answered_503_soon_and_comes_back_by_itself(
    mortal: Served, server: Mortal
) -> None:
    house = mortal.house
    await a_contact(house)
    position = await house.settle()
    async with listening(mortal, last=str(position)) as heard:
        await asyncio.to_thread(server.kill)
        await until(house.client, "/readyz", 503)
        assert await heard.ends()
    answers: list[httpx.Response] = []
    took: list[float] = []
    for _ in range(5):
        started = time.monotonic()
        answers += [
            await house.client.get("/v1/contacts"),
            await house.client.get("/v1/firm"),
            await house.client.post("/v1/contacts", json={"given": CANARY}),
            await house.client.get("/v1/changes"),
            await house.client.get("/v1/contacts", headers={"Chancery-Position": str(position)}),
        ]
        took.append(time.monotonic() - started)
    assert min(took) < 3, "nobody waits for what is known to be away, whatever else the machine has to do"
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:chancery:problem:unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert (await house.client.get("/healthz")).status_code == 200
    assert (await house.client.get("/readyz")).json()["database"] == "away"
    assert (await house.client.get("/metrics")).status_code == 200
    await asyncio.to_thread(server.start)
    await until(house.client, "/readyz", 200)
    for _ in range(10):
        assert (await house.client.get("/v1/contacts")).status_code == 200
    made = [await a_contact(house) for _ in range(5)]
    read = await house.client.get(f"/v1/contacts/{made[-1][0]}", headers={"Chancery-Position": str(made[-1][1])})
    assert read.status_code == 200
    async with listening(mortal, last=str(position)) as heard:
        assert [c["position"] for c in await heard.until(made[-1][1])] == [p for _, p in made]


async def test_requests_under_way_when_the_database_dies_are_answered(mortal: Served, server: Mortal) -> None:
    house = mortal.house
    await until(house.client, "/readyz", 200)
    stop = False
    statuses: set[int] = set()
    longest = 0.0

    async def ask(n: int) -> None:
        nonlocal longest
        while not stop:
            started = time.monotonic()
            if n % 2:
                answer = await house.client.get("/v1/contacts")
            else:
                answer = await house.client.post("/v1/contacts", json={"given": CANARY})
            longest = max(longest, time.monotonic() - started)
            statuses.add(answer.status_code)
            await asyncio.sleep(0.005)

    asking = [asyncio.create_task(ask(n)) for n in range(8)]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.kill)
    await until(house.client, "/readyz", 503)
    await asyncio.to_thread(server.start)
    await until(house.client, "/readyz", 200)
    stop = True
    await asyncio.gather(*asking)
    assert statuses <= {200, 201, 503}
    assert longest < PATIENCE  # a write under way is tried again for ten seconds before it is given up


async def test_nothing_personal_and_no_secret_is_logged_whatever_breaks(
    mortal: Served,
    server: Mortal,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = mortal.house
    configure(house.chancery.settings)
    caplog.set_level(logging.DEBUG)
    for client in ("httpx", "httpcore"):  # the test's own, which log what they ask for
        monkeypatch.setattr(logging.getLogger(client), "disabled", True)
    secret = house.key.split("_")[2]
    contact = {
        **dict.fromkeys(
            ("display_name", "given", "middle", "family", "prefix", "suffix", "nickname", "job_title", "role", "department", "about"),
            CANARY,
        ),
        "organisation_name": CANARY, "source": CANARY, "birthday": "1901-02-03", "tags": [CANARY], "languages": ["de"],
        "emails": [{"address": f"{CANARY}@example.org", "label": CANARY}], "phones": [{"number": "+493012345678"}],
        "addresses": [{"street": [f"{CANARY} 1"], "city": CANARY, "postal_code": "98765432", "country": "DE"}],
        "websites": [{"url": f"https://{CANARY}.example.org"}],
    }  # fmt: skip

    async def everything() -> list[int]:
        raw = f'{{"given": "{CANARY}", '.encode()
        answers = [
            await house.client.post("/v1/contacts", json=contact),
            await house.client.post("/v1/contacts", json={"given": CANARY}),
            await house.client.post("/v1/contacts", json={"given": [CANARY], CANARY: 1}),
            await house.client.post("/v1/contacts", content=raw, headers={"Content-Type": "application/json"}),
            await house.client.post("/v1/contacts", json={"given": CANARY * 1_000}),
            await house.client.post("/v1/contacts:search", json={"filter": f'family = "{CANARY}" AND ('}),
            await house.client.get("/v1/contacts", params={"filter": f'family = "{CANARY}"'}),
            await house.client.get(f"/v1/{CANARY}", headers={"Idempotency-Key": CANARY}),
            await house.client.get("/v1/me", headers={"Authorization": f"Bearer {house.key}x"}),
        ]
        status, _, _ = await mortal.raw(f"GET /{CANARY}\x01".encode())
        return [*(a.status_code for a in answers), status]

    def burst(*_: object, **__: object) -> None:
        raise ValueError(f"{CANARY} {house.key}")

    created = await house.client.post("/v1/contacts", json=contact)
    assert created.status_code == 201, created.text
    assert {201, 400, 401, 404, 422} <= set(await everything())
    with monkeypatch.context() as broken:
        broken.setattr(reads, "compile_one", burst)
        failed = await house.client.get(f"/v1/contacts/{(await a_contact(house))[0]}")
        assert (failed.status_code, failed.json()["type"]) == (500, "urn:chancery:problem:internal")
        assert CANARY not in failed.text
    with monkeypatch.context() as broken:
        broken.setattr(house._app.state.service.chancery.executor, "execute", burst)
        assert (await house.client.post("/v1/contacts", json=contact)).status_code == 500
    await asyncio.to_thread(server.kill)
    await until(house.client, "/readyz", 503)
    assert 503 in await everything()
    await asyncio.to_thread(server.start)
    await until(house.client, "/readyz", 200)
    structlog.reset_defaults()
    told = capfd.readouterr()
    said = told.out + told.err + caplog.text
    assert "request.failed" in said
    assert "ValueError" in said
    for hidden in (CANARY, secret, house.key, CANARY.lower(), "12345678", "98765432", "1901-02-03"):
        assert hidden not in said
