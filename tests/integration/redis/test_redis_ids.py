"""Ids that somebody else gives entries of a Redis stream: all later ones go by them, until none is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Outcome, SinkUnavailable
from celery_event_bridge.contract.notices import NOTICES
from celery_event_bridge.testing import deliver
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from tests.support.servers import Redis
from tests.support.streams import Stream, ids, in_redis, some

STREAM = "celery-events"
HIGHEST = 2**64 - 1


@pytest.fixture
def client(redis_server: Redis, redis_url: str) -> Iterator[Client]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
def stream(redis_url: str) -> Iterator[Stream]:
    made = in_redis(redis_url, trim="age=7d")
    made.write(some(20))
    made.sink.look()
    yield made
    made.sink.close()


def test_an_id_far_ahead_of_the_clock_is_told_of(client: Client, stream: Stream) -> None:
    """Once, with what comes of it; and that it is over. What comes meanwhile is stored and read."""
    assert 0 == NOTICES.counts()["clock"]
    client.xadd(STREAM, {"foo": "bar"}, id=f"{HIGHEST}-1")
    stream.write(some(20, 100))
    for _ in range(2):
        stream.sink.look()
        assert 0 < NOTICES.counts()["clock"]
    with stream.reader(follow=False) as events:
        assert ids(some(20)) + ids(some(20, 100)) == [event.id for event in events if event.record.problem is None]
    client.rename(STREAM, "old")
    stream.write(some(20, 200))
    stream.sink.look()
    told = NOTICES.counts()["clock"]
    stream.sink.look()
    assert told == NOTICES.counts()["clock"]


def test_ids_that_are_used_up_are_found_by_check(client: Client, redis_url: str, stream: Stream) -> None:
    """As by a bridge that runs, before an event comes; it goes on in a new stream."""
    client.xadd(STREAM, {"foo": "bar"}, id=f"{HIGHEST}-{HIGHEST}")
    with pytest.raises(SinkUnavailable, match="no id left"):
        stream.sink.look()
    with closing(RedisStreamsSink(RedisSettings(url=redis_url))) as other:
        other.open()
        with pytest.raises(SinkUnavailable, match="no id left"):
            other.available()
    assert Outcome.RETRY in {one.outcome for one in deliver(stream.sink, some(5, 100), 80)}
    client.rename(STREAM, "old")
    stream.sink.available()
    stream.write(some(5, 100))
    stream.sink.look()
