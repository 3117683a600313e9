"""Contents that nobody has any more go, and no other does."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import os
import time
from pathlib import Path

import psycopg
import pytest

from infra.erasure.contents import let_go
from infra.record.appender import CHANNEL
from tests.house import House, post

LONG_AGO = 30 * 86_400


async def sent(house: House, text: str) -> str:
    got = await house.client.post("/v1/uploads", content=text.encode())
    return str(got.json()["sha256"])


async def a_document(house: House, sha256: str) -> str:
    made = await post(house, "/documents", {"title": "D", "version": {"sha256": sha256, "file_name": "d.txt"}})
    return str(made["id"])


def kept(house: House) -> dict[str, Path]:
    folder = house.chancery.settings.data / "blobs" / str(house.firm)
    return {f.name: f for f in folder.rglob("*") if f.is_file()}


def aged(house: House) -> None:
    for file in kept(house).values():
        then = time.time() - LONG_AGO
        os.utime(file, (then, then))


@pytest.mark.invariant("CO1")
async def test_contents_of_discarded_documents_and_unused_uploads_go_and_no_other(house: House) -> None:
    shared, alone, unused, stands, fresh = [
        await sent(house, f"{n}, once") for n in ("shared", "alone", "unused", "stands", "fresh")
    ]
    gone, other = await a_document(house, shared), await a_document(house, shared)
    goes, stays = await a_document(house, alone), await a_document(house, stands)
    for document in (gone, goes):
        await post(house, f"/documents/{document}:discard", {"reason": "Kept long enough"})
    aged(house)
    await sent(house, "fresh, once")
    assert await let_go(house.chancery) == 2
    assert {shared, alone, unused, stands, fresh} & set(kept(house)) == {shared, stands, fresh}
    for document, status in ((gone, 410), (goes, 410), (other, 200), (stays, 200)):
        assert (await house.client.get(f"/v1/documents/{document}/versions/1/content")).status_code == status
    assert await let_go(house.chancery) == 0


@pytest.mark.invariant("CO1")
async def test_nothing_goes_while_a_view_is_behind(house: House) -> None:
    await a_document(house, await sent(house, "known before the view stopped"))
    await house.settle()
    with psycopg.connect(house.chancery.database.admin_conninfo(), autocommit=True) as c:
        c.execute("UPDATE chancery.projections SET stopped_at = position + 1, error = 'Tried' WHERE name = 'document_versions'")
        try:
            later = await sent(house, "the view does not know of it")
            await a_document(house, later)
            aged(house)
            assert await let_go(house.chancery, patience=1.0) is None
            assert later in kept(house)
        finally:
            c.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = 'document_versions'")
            c.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    async with asyncio.timeout(120):
        while house.chancery.feed.stopped:
            await asyncio.sleep(0.05)
    await house.settle()
    assert await let_go(house.chancery) is not None
    assert later in kept(house)
