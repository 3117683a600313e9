"""What is known of how far the views are."""

import asyncio

import pytest

from infra.database import Database
from infra.feed import Behind, Feed
from infra.search.follower import take_turn


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
    await asyncio.sleep(0)
    feed._told("11 contacts deals keys")
    feed._told("12 contacts")
    assert not waiting.done()
    feed._told("12 deals")
    await asyncio.wait_for(waiting, 5)
    assert feed.positions == {"contacts": 12, "deals": 12, "keys": 10}  # keys are looked at first
    for said in ("", "13", "9 contacts deals"):
        feed._told(said)
    assert feed.positions["contacts"] == 12
    with pytest.raises(Behind):
        await feed.wait(("keys",), 11, timeout=0.05)


async def test_views_no_event_of_a_batch_touched_count_as_moved_at_once_keys_too(database: Database) -> None:
    feed = Feed(database)
    feed.positions = {"contacts": 10, "deals": 10, "keys": 10}
    feed._told("11 deals | contacts keys")
    assert (feed.positions, feed.head, feed._unseen) == ({"contacts": 11, "deals": 11, "keys": 11}, 11, False)
    feed._told("12 deals keys | contacts")
    assert (feed.positions, feed._unseen) == (
        {"contacts": 12, "deals": 12, "keys": 11},
        True,
    )  # whose keys changed is found out first


async def test_what_is_not_known_yet_is_looked_for_and_another_engine_counts_for_nothing(database: Database) -> None:
    feed = Feed(database, search="elasticsearch")
    feed.positions = {"search": 3}
    feed._told("9 search:postgres")
    assert (feed.positions, feed._unseen) == ({"search": 3}, False)
    feed._told("9 search:elasticsearch")
    assert feed.positions == {"search": 9}
    feed._told("10 contacts")
    assert (feed.positions, feed._unseen) == ({"search": 9}, True)


async def test_a_position_that_was_answered_here_is_known_to_be_on_the_record(database: Database) -> None:
    feed = Feed(database)
    feed.written(17)
    assert feed.head == 17
    feed.written(5)
    assert feed.head == 17


async def test_who_waits_is_told_of_a_view_that_has_stopped_and_of_a_database_that_is_away(database: Database) -> None:
    feed = Feed(database)
    feed.positions, feed.stopped = {"contacts": 10, "deals": 10}, {"deals": 11}
    with pytest.raises(Behind) as stopped:
        await feed.wait(("contacts", "deals"), 12)
    assert (stopped.value.view, stopped.value.reached) == ("deals", 10)
    waiting = asyncio.create_task(feed.wait(("contacts",), 12))
    following = asyncio.create_task(feed.moved(10, 30.0))
    await asyncio.sleep(0)
    feed.away = True
    feed._say()
    with pytest.raises(Behind):
        await waiting
    assert await following == 10
    assert not feed._waiting
    assert not feed._following


async def test_a_read_with_a_position_waits_for_the_engine_that_answers_it_and_not_for_the_one_before(fresh: Database) -> None:
    with fresh.connect("record") as c:
        c.execute("UPDATE record.head SET position = 7")
        c.execute("INSERT INTO chancery.projections (name, version, position) VALUES ('search', 1, 7), ('contacts', 1, 7)")
        own, other = Feed(fresh), Feed(fresh, search="elasticsearch")
        async with await fresh.connect_async("record") as looking:
            await own._look(looking)
            await other._look(looking)
            assert own.positions["search"] == 7
            assert other.positions == {"search": 0, "contacts": 7}
            with pytest.raises(Behind):
                await other.wait(("search",), 7, timeout=0.05)
            take_turn(c, "elasticsearch")
            c.execute("UPDATE chancery.projections SET position = 5 WHERE name = 'search'")
            await own._look(looking)
            await other._look(looking)
            assert (own.positions["search"], other.positions["search"]) == (0, 5)
