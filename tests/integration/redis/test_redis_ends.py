"""Redis streams that somebody removes under a reader that reads to their end: what was not read is told of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis as Client

from celery_event_bridge.reader import Events
from tests.support.redis_readers import GROUP, STREAM, lines, take
from tests.support.servers import Redis
from tests.support.streams import Stream, handle, ids, in_redis, some

GONE = {
    "removed": [("DEL", STREAM)],
    "renamed": [("RENAME", STREAM, "old")],
    "emptied": [("XTRIM", STREAM, "MAXLEN", "0")],
    "made anew": [("DEL", STREAM), ("XADD", STREAM, "*", "id", "new")],
    "made anew with a lower id": [("DEL", STREAM), ("XADD", STREAM, "1-1", "id", "new")],
    "flushed": [("FLUSHALL",)],
}


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


def at_hand(events: Events, count: int) -> list[str]:
    """The ids of all that is fetched, when it is at least so many."""
    found = [event.id for event in take(events, count)]
    return found + [event.id for event in take(events, events.in_hand)]


@pytest.mark.parametrize("group", [None, GROUP])
@pytest.mark.parametrize("how", GONE)
def test_a_stream_that_is_gone_before_its_end_was_read(
    stream: Stream, client: Client, how: str, group: str | None
) -> None:
    """The reader ends, and has counted what it has not read: all of it without a group, in a group at least one."""
    all_of_it = some(4000)
    stream.write(all_of_it)
    with stream.reader(group, follow=False) as events:
        found = at_hand(events, 10)
        assert found == ids(all_of_it[: len(found)])
        assert len(found) < len(all_of_it)
        for command in GONE[how]:
            client.execute_command(*command)
        handle(events)
        missing = len(all_of_it) - len(found)
        assert events.skipped == missing if group is None or how == "emptied" else 0 < events.skipped <= missing


@pytest.mark.parametrize("group", [None, GROUP])
def test_what_is_removed_after_it_was_read_is_not_missed(stream: Stream, client: Client, group: str | None) -> None:
    """Neither a stream that is gone once its end is read, nor what is trimmed or stored behind the reader."""
    all_of_it = some(4000)
    stream.write(all_of_it)
    with stream.reader(group, follow=False) as events:
        found = at_hand(events, 10)
        client.xtrim(STREAM, minid=client.xrange(STREAM, count=len(found))[-1][0], approximate=False)
        stream.write(some(10, 5000))
        found += handle(events)
        assert found[:4000] == ids(all_of_it)
        assert events.skipped == 0
    with stream.reader(group, follow=False, since="latest") as events:
        client.delete(STREAM)
        assert (handle(events), events.skipped) == ([], 0)


def test_readers_of_a_group_share_a_stream_to_its_end(stream: Stream, client: Client) -> None:
    """Who is not given the end misses nothing, though what the group has acknowledged is removed at once."""
    stream.write(some(3000))
    with stream.reader(GROUP, follow=False) as first, stream.reader(GROUP, follow=False) as second:
        found = [event.id for event in take(first, 1)]
        mine = found + at_hand(first, 1)
        theirs = handle(second)
        client.xtrim(STREAM, maxlen=0, approximate=False)
        mine += handle(first)
        assert {*mine, *theirs} == set(ids(some(3000)))
        assert (first.skipped, second.skipped) == (0, 0)


@pytest.mark.parametrize("how", ["removed", "renamed", "made anew"])
def test_what_a_groups_reader_has_in_hand_of_a_stream_that_is_gone_stays_in_its_hand(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Nobody else can have it: it is handed out to its end, a commit of it says True, and so does the warning."""
    all_of_it = some(4000)
    stream.write(all_of_it)
    with stream.reader(GROUP) as events:
        first = take(events, 10)
        in_hand = events.in_hand
        assert in_hand > 10
        for command in GONE[how]:
            client.execute_command(*command)
        assert events.commit(first[-1])
        rest = take(events, in_hand)
        assert [event.id for event in rest] == ids(all_of_it[10 : 10 + in_hand])
        assert events.commit(rest[-1])
    (line,) = lines(caplog, "group-made")
    assert f"{in_hand + 10} entries in hand are not in the stream any more" in line
    assert "handed out again" not in line
