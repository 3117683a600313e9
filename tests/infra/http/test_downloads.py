"""Many records at once: by id, and whole lists as files."""

import asyncio
import csv
import io
import json
import tracemalloc
from uuid import UUID

import pytest

from domain.members import Role
from infra.http.downloads import MOST_AT_ONCE, MOST_FOR_A_KEY, Downloads, cell
from infra.http.problems import HttpProblem
from tests.house import House

NOBODY = "00000000-0000-7000-8000-000000000000"


async def contact(house: House, name: str, **more: object) -> str:
    done = await house.client.post("/v1/contacts", json={"display_name": name, **more})
    assert done.status_code == 201, done.text
    return str(done.json()["id"])


async def test_a_batch_keeps_the_order_and_names_what_is_missing(house: House) -> None:
    a, b = await contact(house, "Ann"), await contact(house, "Ben")
    position = await house.settle()
    answer = await house.client.post("/v1/contacts:batch-get", json={"ids": [b, NOBODY, a, b], "fields": "display_name"})
    assert answer.status_code == 200, answer.text
    assert [(i["id"], i["display_name"]) for i in answer.json()["items"]] == [(b, "Ben"), (a, "Ann")]
    assert answer.json()["missing"] == [NOBODY]
    assert int(answer.headers["Chancery-Position"]) >= position
    then = await house.client.post("/v1/contacts:batch-get", json={"ids": [a], "as_of": "2001-01-01T00:00:00Z"})
    assert then.json() == {"items": [], "missing": [a]}


async def test_a_batch_of_another_firm_is_missing(house: House) -> None:
    other = await house.another_firm()
    theirs = await contact(other, "Theirs")
    await house.settle()
    assert (await house.client.post("/v1/contacts:batch-get", json={"ids": [theirs]})).json() == {"items": [], "missing": [theirs]}


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"ids": [NOBODY] * 1001}, {"ids": ["x"]}, {"ids": NOBODY}, {"ids": [NOBODY], "x": 1}]
)
async def test_a_batch_that_is_none_is_refused(house: House, body: dict[str, object]) -> None:
    assert (await house.client.post("/v1/contacts:batch-get", json=body)).status_code == 422


async def test_a_list_is_downloaded_as_csv_with_formulas_inert(house: House) -> None:
    id = await contact(house, "=HYPERLINK(1)", tags=["x,y"], emails=[{"address": "cell@example.org"}])
    await house.settle()
    answer = await house.client.get(
        "/v1/contacts:export", params={"filter": f"id = {id}", "fields": "display_name,tags,emails,owner"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="contacts-')
    header, row = csv.reader(io.StringIO(answer.text, newline=""))
    assert header == ["id", "display_name", "tags", "emails", "owner"]
    assert row[:3] == [id, "'=HYPERLINK(1)", '["x,y"]']
    assert json.loads(row[3])[0]["address"] == "cell@example.org"
    assert row[4] == ""


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_is_shown(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_a_number_stays_a_number() -> None:
    assert cell(-5) == "-5"


async def test_a_list_is_downloaded_as_json_lines_as_it_is_shown(house: House) -> None:
    ids = {await contact(house, f"Line {n}", tags=["lines"]) for n in range(3)}
    await house.settle()
    asked = {"filter": "tags:lines", "order_by": "display_name desc"}
    listed = (await house.client.get("/v1/contacts", params=asked)).json()["items"]
    answer = await house.client.post("/v1/contacts:export", json=asked | {"format": "jsonl"})
    assert [json.loads(line) for line in answer.text.splitlines()] == listed
    assert {i["id"] for i in listed} == ids
    before = await house.client.get("/v1/contacts:export", params=asked | {"format": "jsonl", "as_of": "2001-01-01T00:00:00Z"})
    assert (before.status_code, before.text) == (200, "")


async def test_a_download_is_masked_and_needs_the_permission_of_the_list(house: House) -> None:
    await contact(house, "Nobody's business")
    await house.settle()
    async with await house.as_role(Role.ANALYST) as client:
        for form in ("csv", "jsonl"):
            answer = await client.get("/v1/contacts:export", params={"format": form})
            assert answer.status_code == 200
            assert "business" not in answer.text
    async with house.as_key(None) as client:
        assert (await client.get("/v1/contacts:export")).status_code == 401


async def test_what_can_not_be_downloaded_is_refused_before_it_begins(house: House) -> None:
    for asked in ({"format": "xlsx"}, {"page_size": "5"}):
        assert (await house.client.get("/v1/contacts:export", params=asked)).status_code == 400
    assert (await house.client.get("/v1/contacts:export", params={"filter": "nothing = 1"})).status_code == 422
    assert (await house.client.post("/v1/contacts:export", json={"format": {}})).status_code == 400
    assert (await house.client.head("/v1/contacts:export")).status_code == 200


async def test_the_memory_of_a_download_does_not_grow_with_the_list(house: House) -> None:
    made = await contact(house, "Many")
    await house.settle()
    async with await house.chancery.database.connect_async("record") as c:
        columns = [
            r[0]
            for r in await (
                await c.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'views.contacts'::regclass AND attnum > 0")
            ).fetchall()
        ]
        names = ", ".join(f'"{n}"' for n in columns)
        values = ", ".join("gen_random_uuid()" if n == "id" else "repeat('x', 500)" if n == "about" else f'"{n}"' for n in columns)
        await c.execute(
            f"INSERT INTO views.contacts ({names}) SELECT {values} FROM views.contacts, generate_series(1, 30000) WHERE id = %s",
            (UUID(made),),
        )
    size, most = 0, 0
    tracemalloc.start()
    try:
        request = house.client.build_request("GET", "/v1/contacts:export", params={"format": "jsonl"})
        size, most = await _streamed(house, request.url.raw_path)
    finally:
        tracemalloc.stop()
        async with await house.chancery.database.connect_async("record") as c:
            await c.execute("DELETE FROM views.contacts WHERE about IS NOT NULL AND about LIKE 'xxx%%'")
    assert size > 20_000_000
    assert most < 12_000_000


async def _streamed(house: House, path: bytes) -> tuple[int, int]:
    """How many bytes came, and the most memory that was held beyond what there was before: read as a slow caller reads."""
    size = 0
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()

    async def receive() -> dict[str, object]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        nonlocal size
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        size += len(body)

    name, _, query = path.partition(b"?")
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": name.decode(), "raw_path": name,
        "query_string": query, "headers": [(b"host", b"chancery"), (b"authorization", f"Bearer {house.key}".encode())],
        "client": ("127.0.0.1", 1), "server": ("chancery", 80),
    }  # fmt: skip
    first = [True]

    async def start() -> dict[str, object]:
        if first[0]:
            first[0] = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    await house._app(scope, start, send)
    _, peak = tracemalloc.get_traced_memory()
    return size, peak - before


def test_downloads_at_once_are_bounded_for_a_key_and_in_all() -> None:
    downloads = Downloads()
    mine = UUID(int=1)
    for _ in range(MOST_FOR_A_KEY):
        downloads.enter(mine)
    with pytest.raises(HttpProblem) as refused:
        downloads.enter(mine)
    assert refused.value.status == 429
    for n in range(MOST_AT_ONCE - MOST_FOR_A_KEY):
        downloads.enter(UUID(int=10 + n))
    with pytest.raises(HttpProblem) as full:
        downloads.enter(UUID(int=99))
    assert full.value.status == 503
    downloads.leave(mine)
    downloads.enter(UUID(int=99))
