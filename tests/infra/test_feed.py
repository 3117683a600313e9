"""What is known of how far the views are."""

import asyncio

import pytest

from infra.database import Database
from infra.reading import Behind, Feed


async def test_what_follows_the_record_beside_the_views_holds_no_reader_back(database: Database) -> None:
    feed = Feed(database)
    feed.positions = {"contacts": 10, "deals": 12, "relay": 3, "log": 0}
    assert feed.shown() == 10
    feed.stopped = {"contacts": 11}
    assert feed.shown() == 12
    assert feed.reached(("deals", "relay")) == 3


async def test_who_waits_for_a_view_goes_on_as_soon_as_its_projector_says_so(database: Database) -> None:
    feed = Feed(database)
    feed.positions = {"contacts": 10, "deals": 10, "keys": 10}
    waiting = asyncio.create_task(feed.wait(("contacts", "deals"), 12))
    await feed._told("11 contacts deals keys")
    await feed._told("12 contacts")
    assert not waiting.done()
    await feed._told("12 deals")
    await asyncio.wait_for(waiting, 5)
    assert feed.positions == {"contacts": 12, "deals": 12, "keys": 10}  # keys are looked at first
    for said in ("", "13", "9 contacts deals"):
        await feed._told(said)
    assert feed.positions["contacts"] == 12
    with pytest.raises(Behind):
        await feed.wait(("keys",), 11, timeout=0.05)
