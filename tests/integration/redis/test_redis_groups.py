"""Groups of Redis that somebody destroys, empties or sets: nothing is passed over, and it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Reading
from celery_event_sinks.redis.extent import Place, place
from celery_event_sinks.redis.group import RedisGroup
from celery_event_sinks.redis.reader import RedisReader
from celery_event_sinks.redis.settings import RedisSettings, streams
from celery_event_sinks.redis.stored import Found
from tests.support.redis_readers import GROUP, STREAM, lines, rest, take
from tests.support.redis_sinks import told
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.streams import Stream, ids, in_redis, some


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


@pytest.mark.parametrize("noticed_by", ["commit", "fetch", "reconnect"])
def test_a_group_that_somebody_destroys(
    own_redis: Redis, stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, noticed_by: str
) -> None:
    """It is made again where this reader was: what was committed does not come again, all the rest does, and a commit
    of what was handed out before says that it is another's.
    """
    all_of_it = some(200)
    stream.write(all_of_it[:100])
    with stream.reader(GROUP) as events:
        first = take(events, 30)
        assert events.commit(first[9])
        client.xgroup_destroy(STREAM, GROUP)
        stream.write(all_of_it[100:])
        if noticed_by == "reconnect":
            client.client_kill_filter(_type="normal", skipme=True)
        later = [] if noticed_by == "commit" else take(events, 90)
        assert not events.commit(first[-1])
        found = [event.id for event in later] + rest(events, set(ids(all_of_it[10:])) - {event.id for event in later})
        assert set(found) == set(ids(all_of_it[10:]))
        events.idle = events.stop
        for event in events:  # copies of what was in hand
            assert events.commit(event)
    assert told("group-made") >= 1
    (line,) = lines(caplog, "group-made")
    assert "the group 'billing' of the stream 'celery-events' was destroyed, and is made again" in line
    assert [] == stream.all(GROUP)


@pytest.mark.parametrize("ends", [False, True])
def test_what_was_taken_over_when_another_streams_group_is_destroyed(
    own_redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """It is handed out by the reader that holds it, from which nobody else could take it while that one lives."""
    settings = RedisSettings(url=own_redis.url, stream=STREAM, shards=2)
    first, second = streams(settings)
    wanted = [place(client.xadd(first, {"id": f"{number}"})) for number in range(5)]
    client.xgroup_create(first, GROUP, "0")
    client.xreadgroup(GROUP, "dead", {first: ">"})
    take_over = RedisGroup.take_over

    def destroyed_meanwhile(group: RedisGroup, stream: bytes, limit: int) -> Found:
        found = take_over(group, stream, limit)
        if found and stream == first:
            client.xgroup_destroy(second, GROUP)
        return found

    monkeypatch.setattr(RedisGroup, "take_over", destroyed_meanwhile)
    time.sleep(1.1)  # its lease
    reader = RedisReader(settings, Reading(GROUP, ends=ends, lease=1.0))
    reader.open()
    found: list[Place] = []

    def fetched() -> bool:
        found.extend(record.position for record in reader.fetch(100, 0.1).records)
        return len(found) >= len(wanted)

    until(fetched, 10, "they are handed out")
    assert found == wanted
    reader.close()


def test_a_stream_that_is_emptied_under_a_group(stream: Stream, client: Client) -> None:
    """What is stored after FLUSHALL is read by the same reader."""
    all_of_it = some(150)
    stream.write(all_of_it[:100])
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        client.flushall()
        stream.write(all_of_it[100:])
        assert rest(events, set(ids(all_of_it[100:]))) == ids(all_of_it[100:])


def test_a_consumer_that_somebody_deletes(stream: Stream, client: Client) -> None:
    """XGROUP DELCONSUMER forgets what it holds: that is handed out again, and the commit says that it was not."""
    all_of_it = some(100)
    stream.write(all_of_it)
    with stream.reader(GROUP, lease=30.0) as events:
        first = take(events, 40)
        assert events.commit(first[9])
        for consumer in client.xinfo_consumers(STREAM, GROUP):
            client.xgroup_delconsumer(STREAM, GROUP, consumer["name"])
        assert not events.commit(first[-1])
        assert set(rest(events, set(ids(all_of_it[10:])))) == set(ids(all_of_it[10:]))
    assert told("group-made") == 1


def test_a_dead_consumer_that_somebody_deletes(stream: Stream, client: Client) -> None:
    """What it had in hand is handed out again by those that live, and told of; nothing of one that closed in order."""
    all_of_it = some(100)
    stream.write(all_of_it)
    with stream.reader(GROUP, lease=8.0) as living:
        living.idle = living.stop
        with stream.reader(GROUP, lease=8.0) as closing:
            assert closing.commit(take(closing, 10)[-1])
            take(living, 1)  # it looks
        dead = RedisReader(RedisSettings(url=stream.url), Reading(group=GROUP, lease=8.0))
        dead.open()
        held = {record.id for record in dead.fetch(20, 1.0).records}
        (name,) = [one["name"] for one in client.xinfo_consumers(STREAM, GROUP) if one["pending"] == len(held)]
        began, deleted = time.monotonic(), False

        def delete_once_it_was_seen() -> None:
            nonlocal deleted
            if not deleted and time.monotonic() > began + 3.0:  # a look comes every quarter of a lease
                deleted = bool(client.xgroup_delconsumer(STREAM, GROUP, name))
            if time.monotonic() > began + 30.0:
                living.stop()

        living._stopping.clear()
        living.idle = delete_once_it_was_seen
        got: set[str] = set()
        for event in living:
            got.add(event.id)
            living.commit(event)
            if held <= got:
                break
        dead.close()
        assert held <= got
        assert told("group-made") == 1


def test_a_position_that_somebody_sets_ahead(stream: Stream, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """XGROUP SETID passes over entries: they are counted as skipped, and a warning says who did it."""
    all_of_it = some(200)
    stream.write(all_of_it[:100])
    with stream.reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        events.idle = events.stop
        assert take(events, 1) == []
    with stream.reader(GROUP) as events:
        events.idle = events.stop
        assert take(events, 1) == []
        stream.write(all_of_it[100:])
        client.xgroup_setid(STREAM, GROUP, client.xrange(STREAM)[159][0])
        events._stopping.clear()
        assert rest(events, set(ids(all_of_it[160:]))) == ids(all_of_it[160:])
        assert events.skipped == 60
    assert "was set ahead" in lines(caplog, "group-made")[0]
