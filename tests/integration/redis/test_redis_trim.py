"""Trims of a Redis stream: told of, and by no clock that is ahead."""

from __future__ import annotations

import logging
import time

import pytest
from redis import Redis as Client

from celery_event_bridge.testing import sample_events
from celery_event_sinks.redis.clock import StreamClock
from tests.support.redis_readers import GROUP, lines, rest, take
from tests.support.redis_sinks import looked_at, opened, store_all, stored, told
from tests.support.servers import Redis
from tests.support.streams import ids, in_redis, some

STREAM = "celery-events"


def test_what_is_trimmed_is_told_of(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """By age and by length: counted, at info, and not taken for somebody's doing, by another replica either."""
    caplog.set_level(logging.INFO, "celery_event_bridge")
    with client.pipeline() as pipeline:
        for number in range(1, 25_001):  # more than Redis removes in one go
            pipeline.xadd(STREAM, {"data": "old"}, id=f"{number}-1")
        pipeline.execute()
    other = opened(own_redis.url, trim="age=1d")
    other.look()
    subject = opened(own_redis.url, trim="age=1d")
    store_all(subject, sample_events(10))
    other.look()
    subject.look()
    assert told("stream-shrunk") == 0
    assert 25_010 - len(stored(own_redis.url)) == told("removed") >= 24_900
    assert [logging.INFO] == [one.levelno for one in caplog.records if getattr(one, "kind", "") == "removed"]
    assert told("clock") == 0


def test_what_is_trimmed_by_length_is_told_of(own_redis: Redis) -> None:
    """The number of those that are gone is counted as removed."""
    subject = looked_at(own_redis.url, 100, trim="maxlen=100")
    store_all(subject, sample_events(2000, size=10))
    subject.look()
    assert told("stream-shrunk") == 0
    assert 2100 - len(stored(own_redis.url)) == told("removed")


def test_a_clock_that_is_ahead_removes_nothing(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With this machine's clock eight days ahead and BRIDGE_REDIS_TRIM=age=7d all is kept, and the clock is told of."""
    events = sample_events(750)
    store_all(opened(own_redis.url, trim="age=7d"), events[:250])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 8 * 86_400)
    subject = opened(own_redis.url, trim="age=7d")
    for first in range(250, 750, 100):
        store_all(subject, events[first : first + 100])
        subject.look()
    assert [event.data for event in events] == stored(own_redis.url)
    assert told("clock") > 0
    assert "this machine's clock is 691200 s ahead of that of Redis" in caplog.text


def test_a_jump_of_the_servers_clock_removes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The time by which entries are removed goes on as before, and the jump is told of."""
    now = [1000.0]
    clock = StreamClock(monotonic=lambda: now[0], wall=lambda: 1_900_000_000 + now[0])
    assert clock.milliseconds() is None
    clock.saw(1_900_001_000, "r:6379")
    now[0] += 10
    clock.saw(1_900_001_010 + 8 * 86_400, "r:6379")
    assert clock.milliseconds() == 1_900_001_010_000
    assert "the clock of Redis at r:6379 has jumped by +691200 s" in caplog.text
    now[0] += 10
    clock.saw(1_900_001_020, "r:6379")
    assert clock.milliseconds() == 1_900_001_020_000


def test_no_right_to_trim_is_told_of(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The events are stored, and a warning says that nothing is removed, and why."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping", "+xadd", "+time"], keys=["*"])
    subject = opened(own_redis.url.replace("redis://", "redis://writer:secret@"), trim="age=7d")
    store_all(subject, sample_events(5))
    assert "BRIDGE_REDIS_TRIM=age=604800s: nothing is removed: " in caplog.text
    assert "NOPERM" in caplog.text


def test_no_right_to_ask_the_time_removes_nothing(
    own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Age is not known then: not even what every group has acknowledged goes, and the missing right is told of."""
    events = sample_events(300)
    store_all(opened(own_redis.url), events)
    client.xgroup_create("celery-events", "billing", "0")
    for _, entries in client.xreadgroup("billing", "me", {"celery-events": ">"}, 1000) or ():
        client.xack("celery-events", "billing", *(entry for entry, _ in entries))
    rights = {"categories": ["+@all"], "commands": ["-time"], "keys": ["*"]}
    client.acl_setuser("timeless", enabled=True, passwords=["+secret"], **rights)
    subject = opened(own_redis.url.replace("redis://", "redis://timeless:secret@"), trim="age=7d")
    store_all(subject, sample_events(305)[300:])
    assert 305 == client.xlen("celery-events")
    assert "the user needs +time" in caplog.text


def acknowledge_all(client: Client, group: str) -> None:
    for _, entries in client.xreadgroup(group, "me", {STREAM: ">"}, 10_000) or ():
        client.xack(STREAM, group, *(entry for entry, _ in entries))


def test_what_a_group_had_not_read_is_kept_when_somebody_destroys_it(
    own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The trim of `acked` removes nothing of it, and says so once; the group's reader makes it again and reads on."""
    subject = opened(own_redis.url, trim="acked", trim_interval=0.0)
    all_of_it = some(2030)
    store_all(subject, all_of_it[:2000])
    with in_redis(own_redis.url).reader(GROUP) as events:
        events.commit(take(events, 100)[-1])
        client.xgroup_create(STREAM, "fast", "0")
        acknowledge_all(client, "fast")
        store_all(subject, all_of_it[2000:2010])
        client.xgroup_destroy(STREAM, GROUP)
        for first in (2010, 2020):
            acknowledge_all(client, "fast")
            store_all(subject, all_of_it[first : first + 10])
        assert rest(events, set(ids(all_of_it[100:]))) == ids(all_of_it[100:])
        assert events.skipped == 0
        acknowledge_all(client, "fast")
    (line,) = lines(caplog, "group-gone")
    assert "the group 'billing' of the stream 'celery-events' is gone" in line
    store_all(subject, some(10, 5000))
    assert len(stored(own_redis.url)) < 500  # as the group has acknowledged it


def test_what_a_deleted_consumer_had_in_hand_is_kept_for_those_that_hand_it_out_again(
    own_redis: Redis, client: Client
) -> None:
    """XGROUP DELCONSUMER of a dead reader takes its entries for settled: the trim of `acked` does not for a while."""
    subject = opened(own_redis.url, trim="acked", trim_interval=0.0)
    all_of_it = some(2030)
    store_all(subject, all_of_it[:2000])
    client.xgroup_create(STREAM, GROUP, "0")
    held = client.xreadgroup(GROUP, "dead", {STREAM: ">"}, 1000)[0][1]
    store_all(subject, all_of_it[2000:2010])
    client.xgroup_delconsumer(STREAM, GROUP, "dead")
    for first in (2010, 2020):
        acknowledge_all(client, GROUP)
        store_all(subject, all_of_it[first : first + 10])
    assert held[0] == client.xrange(STREAM, count=1)[0]


def test_a_consumer_that_has_acknowledged_all_holds_nothing_up(own_redis: Redis, client: Client) -> None:
    """It is there, with nothing in hand, as most of them are most of the time."""
    subject = opened(own_redis.url, trim="acked", trim_interval=0.0)
    store_all(subject, some(2000))
    client.xgroup_create(STREAM, GROUP, "0")
    ((_, held),) = client.xreadgroup(GROUP, "me", {STREAM: ">"}, 1000)
    store_all(subject, some(10, 5000))
    client.xack(STREAM, GROUP, *(entry for entry, _ in held))
    store_all(subject, some(10, 6000))
    assert len(stored(own_redis.url)) < 1200
