"""Streams of Redis that are taken away under a group's reader and come back, with what it had in hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis as Client

from celery_event_bridge.reader import open_reader
from tests.support.redis_readers import GROUP, STREAM, lines, read_until, rest, take
from tests.support.redis_sinks import told
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.streams import Stream, ids, in_redis, some

ASIDE = "aside"
HOW = ["RENAME", "SWAPDB", "RESTORE"]


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


def taken_away(client: Client, how: str) -> Callable[[], object]:
    """Take the stream away; returns what puts it back."""
    if how == "RENAME":
        client.rename(STREAM, ASIDE)
        return lambda: client.rename(ASIDE, STREAM)
    if how == "SWAPDB":
        client.swapdb(0, 1)
        return lambda: client.swapdb(0, 1)
    dump = client.dump(STREAM)
    client.delete(STREAM)
    return lambda: client.restore(STREAM, 0, dump, replace=True)


def is_made_anew(client: Client) -> bool:
    """Whether the reader has noticed, and has made the group."""
    return bool(client.exists(STREAM) and client.xinfo_groups(STREAM))


@pytest.mark.parametrize("how", HOW)
def test_what_was_in_hand_of_a_stream_that_comes_back(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """What was committed while it was away is acknowledged in it, what is committed later is gone from it, and the rest
    is for the next reader. It is told of once.
    """
    all_of_it = some(100)
    stream.write(all_of_it)
    with stream.reader(GROUP) as events:
        read = take(events, 100)
        back = taken_away(client, how)
        read_until(events, lambda: is_made_anew(client))
        assert events.commit(read[29])
        back()
        read_until(events, lambda: client.xpending(STREAM, GROUP)["pending"] == 70)
        assert events.commit(read[59])
        assert 40 == client.xpending(STREAM, GROUP)["pending"]
    assert stream.all(GROUP) == ids(all_of_it[60:])
    assert told("group-made") == 2
    (line,) = [one for one in lines(caplog, "group-made") if "was destroyed" not in one]
    assert "70 entries are in hand as before, 30 that were committed meanwhile are acknowledged" in line


@pytest.mark.parametrize("how", HOW)
def test_a_commit_in_a_stream_that_is_back_before_it_is_noticed(stream: Stream, client: Client, how: str) -> None:
    """It acknowledges what this reader holds there, says False for what another one has taken over, and leaves that."""
    stream.write(some(100))
    with stream.reader(GROUP, lease=30.0) as events:
        read = take(events, 100)
        back = taken_away(client, how)
        read_until(events, lambda: is_made_anew(client))
        back()
        client.xclaim(STREAM, GROUP, "another", 0, [entry for entry, _ in client.xrange(STREAM, count=20)])
        assert not events.commit(read[49])
        pending = {one["name"]: one["pending"] for one in client.xinfo_consumers(STREAM, GROUP)}
        assert (pending.pop(b"another"), list(pending.values())) == (20, [50])
        assert events.commit(read[-1])
        assert client.xpending(STREAM, GROUP)["pending"] == 20


def test_what_was_given_up_of_a_stream_that_comes_back(stream: Stream, client: Client) -> None:
    """Entries that were in hand, and not in the stream when its group was made again, are handed out once they are."""
    all_of_it = some(100)
    stream.write(all_of_it)
    with stream.reader(GROUP) as events:
        take(events, 100)
        client.copy(STREAM, ASIDE)
        client.xtrim(STREAM, maxlen=50, approximate=False)
        client.xgroup_destroy(STREAM, GROUP)
        assert {event.id for event in take(events, 50)} == set(ids(all_of_it[50:]))
        client.rename(ASIDE, STREAM)
        assert set(ids(all_of_it[:50])) <= set(rest(events, set(ids(all_of_it[:50])), 15))


def test_what_nobody_holds_in_a_stream_that_comes_back(stream: Stream, client: Client) -> None:
    """Where the group has been made anew behind it, what was in hand and not committed comes again, and only that."""
    all_of_it = some(100)
    stream.write(all_of_it)
    dump = client.dump(STREAM)
    with stream.reader(GROUP) as events:
        read = take(events, 100)
        client.delete(STREAM)
        read_until(events, lambda: is_made_anew(client))
        assert events.commit(read[29])
        with client.pipeline() as pipeline:
            pipeline.restore(STREAM, 0, dump, replace=True)
            pipeline.xgroup_create(STREAM, GROUP, "$")
            pipeline.execute()
        assert rest(events, set(ids(all_of_it[30:])), 15) == ids(all_of_it[30:])


def test_what_was_fetched_of_other_streams_when_the_group_of_one_is_destroyed(own_redis: Redis, client: Client) -> None:
    """It is handed out again, too, as the reader drops all that it had fetched and not handed out."""
    stream = in_redis(own_redis.url, shards=2)
    all_of_it = some(200)
    stream.write(all_of_it)
    keys = sorted(client.keys(f"{STREAM}*"))
    environ = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": own_redis.url, "BRIDGE_REDIS_SHARDS": "2"}
    with open_reader(None, GROUP, environ=environ, lease=1.0) as events:
        began = time.monotonic()
        first = take(events, 1)
        assert events.in_hand > 50
        client.xgroup_destroy(keys[0], GROUP)
        until(lambda: time.monotonic() > began + 0.3, 10, "it is time for a sign of life")
        wanted = set(ids(all_of_it)) - {first[0].id}
        assert wanted <= set(rest(events, wanted, 15))
    stream.sink.close()
