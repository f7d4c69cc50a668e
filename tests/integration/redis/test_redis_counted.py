"""Entries of a Redis stream that were gone before a group came to them: their number is true, and counted once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis as Client

from tests.support.redis_readers import GROUP, STREAM, lines, read_until, rest, take
from tests.support.redis_sinks import told
from tests.support.servers import Redis
from tests.support.streams import Stream, ids, in_redis, some


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


@pytest.mark.parametrize("looked", [True, False])
def test_what_is_removed_while_a_group_is_destroyed(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, looked: bool
) -> None:
    """Its reader, which makes the group again, says how many it has not read, as Redis numbers the entries."""
    all_of_it = some(2010)
    stream.write(all_of_it[:2000])
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        had = 100
        if looked:
            more = take(events, 1 + events.in_hand) + take(events, events.in_hand)
            events.commit(more[-1])
            had += len(more)
        client.xgroup_destroy(STREAM, GROUP)
        client.xtrim(STREAM, maxlen=80, approximate=False)
        stream.write(all_of_it[2000:])
        assert rest(events, set(ids(all_of_it[1920:]))) == ids(all_of_it[1920:])
        assert events.skipped == 1920 - had
    assert told("skipped") == 1920 - had
    assert lines(caplog, "skipped")[0].startswith(f"{1920 - had} records were gone from the stream before the group")


def test_what_is_removed_while_no_reader_can_count_is_at_least_one(stream: Stream, client: Client) -> None:
    """Where the stream is another one, the numbers of the old one mean nothing."""
    stream.write(some(2000))
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        client.delete(STREAM)
        stream.write(some(50, 5000))
        assert rest(events, set(ids(some(50, 5000)))) == ids(some(50, 5000))
        assert events.skipped <= 1900


def test_a_stream_that_stays_empty_is_counted_once(stream: Stream, client: Client) -> None:
    """Each look finds the same entries gone, until new ones come."""
    all_of_it = some(1030)
    stream.write(all_of_it[:1000])
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        client.xtrim(STREAM, maxlen=0, approximate=False)
        looks = [0]
        read_until(events, lambda: looks.append(0) or len(looks) > 4)
        assert events.skipped == 900
        stream.write(all_of_it[1000:])
        assert rest(events, set(ids(all_of_it[1000:]))) == ids(all_of_it[1000:])
        assert events.skipped == 900


def test_a_group_that_is_overtaken_twice_before_the_end_is_counted_once(stream: Stream, client: Client) -> None:
    """What the first trim removed is not counted again with the second."""
    all_of_it = some(3000)
    stream.write(all_of_it)
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        client.xtrim(STREAM, maxlen=2000, approximate=False)
        more = take(events, 1 + events.in_hand) + take(events, events.in_hand)
        more += take(events, 1) + take(events, events.in_hand)
        events.commit(more[-1])
        assert (events.skipped, len(more) < 1500) == (900, True)
        client.xtrim(STREAM, maxlen=200, approximate=False)
        assert rest(events, set(ids(all_of_it[2800:]))) == ids(all_of_it[2800:])
        assert events.skipped == 2800 - 100 - len(more)
