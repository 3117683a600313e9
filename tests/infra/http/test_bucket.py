"""A whole Chancery whose contents are in a bucket of a real S3 server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.blobs.s3 import PART
from infra.database import Database
from infra.settings import Settings
from tests.house import House, a_house
from tests.servers import S3, s3_server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, settings: Settings, database: Database) -> AsyncIterator[House]:
    patch = pytest.MonkeyPatch()
    for name, value in S3.ENVIRONMENT.items():
        patch.setenv(name, value)
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        chosen = settings.model_copy(update={"blobs": f"s3://{server.bucket}/firms", "s3_endpoint": server.endpoint})
        async with a_house(chosen, database) as opened:
            yield opened
    patch.undo()


def document(sha256: str) -> dict[str, object]:
    return {"title": "Agreement", "version": {"sha256": sha256, "file_name": "agreement.txt"}}


async def test_a_document_is_uploaded_found_by_its_text_and_read_in_part_and_in_whole(house: House) -> None:
    c = house.client
    text = b"The quick marmalade clause.\n" + b"Nothing else is agreed.\n" * (PART // 12)
    sent = await c.post("/v1/uploads", content=text)
    assert sent.status_code == 201, sent.text
    made = await c.post("/v1/documents", json=document(sent.json()["sha256"]))
    assert made.status_code == 201, made.text
    await house.settle()
    place = f"/v1/documents/{made.json()['id']}/versions/1/content"
    assert (await c.get(place)).content == text
    part = await c.get(place, headers={"Range": f"bytes={PART - 5}-{PART + 5}"})
    assert (part.status_code, part.content) == (206, text[PART - 5 : PART + 6])
    found = await c.get("/v1/search", params={"q": "marmalade"})
    assert [hit["id"] for hit in found.json()["items"]] == [made.json()["id"]], found.text
    assert not (house.chancery.settings.data / "blobs").exists()


async def test_content_that_was_never_sent_is_refused(house: House) -> None:
    refused = await house.client.post("/v1/documents", json=document("0" * 64))
    assert refused.json()["type"] == "urn:chancery:problem:content-missing"
