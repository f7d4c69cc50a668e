"""Redis >= 8.6 drops what is written again; what cannot drop it, older ones and Valkey, is written to all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celery_event_bridge.contract import Outcome, Sink, SinkUnavailable
from celery_event_bridge.testing import SinkContract, await_verdicts, deliver, sample_events
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from tests.support.redis_sinks import as_contract, opened, stored
from tests.support.servers import newer_redis, valkey
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis

STREAM = "celery-events"


@pytest.fixture(scope="module")
def _redis() -> Iterator[NativeRedis]:
    with newer_redis() as server:
        yield server


@pytest.fixture
def redis(_redis: NativeRedis) -> NativeRedis:
    """With nothing in it."""
    with _redis.client() as client:
        client.flushall()
    return _redis


@pytest.fixture(scope="module")
def _valkey() -> Iterator[NativeRedis]:
    with valkey() as server:
        yield server


class TestNewerRedisContract(SinkContract):
    """What every sink holds."""

    keeps_key = False

    @pytest.fixture
    def make_sink(self, redis: NativeRedis) -> Callable[[], Sink]:
        return lambda: RedisStreamsSink(RedisSettings(url=redis.url))

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return as_contract(sink._settings.url)


class TestValkeyContract(TestNewerRedisContract):
    """What every sink holds."""

    @pytest.fixture
    def make_sink(self, _valkey: NativeRedis) -> Callable[[], Sink]:
        with _valkey.client() as client:
            client.flushall()
        return lambda: RedisStreamsSink(RedisSettings(url=_valkey.url))


def assert_stores(subject: RedisStreamsSink, events: list[Any]) -> None:
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, events, 80)}


def window(redis: NativeRedis) -> tuple[int, int]:
    """Seconds and ids a producer that the stream remembers."""
    with redis.client() as client:
        info = client.xinfo_stream(STREAM)
        return int(info["idmp-duration"]), int(info["idmp-maxsize"])


def test_written_twice_is_there_once(redis: NativeRedis) -> None:
    """Again by the same sink and by another one, between others: confirmed each time, stored once."""
    events = sample_events(300)
    first, second = opened(redis.url), opened(redis.url)
    for subject, some in ((first, events[:200]), (first, events[:200]), (second, events[100:])):
        assert_stores(subject, some)
    assert [event.data for event in events] == stored(redis.url)


def test_a_connection_lost_between_write_and_reply(redis: NativeRedis) -> None:
    """What was written and not answered is written again, and is there once."""
    events = sample_events(10)
    subject = opened(redis.url)
    assert_stores(subject, events[:2])
    redis.pause()
    subject.send(events)
    assert {Outcome.RETRY} == {verdict.outcome for verdict in await_verdicts(subject, 10, 80)}
    redis.resume()
    until(lambda: subject.available() is None, 20, "Redis answers again")
    assert_stores(subject, events)
    assert [event.data for event in events] == stored(redis.url)


def test_the_window_is_as_wide_as_it_can_be(redis: NativeRedis) -> None:
    """From before the first event on, and no second sink changes it, which would clear it."""
    subject = opened(redis.url)
    assert_stores(subject, sample_events(1))
    assert (86_400, 10_000) == window(redis)
    assert_stores(opened(redis.url), sample_events(1))
    assert len(stored(redis.url)) == 1


def test_a_killed_server_remembers(redis: NativeRedis) -> None:
    """What it had confirmed before a SIGKILL is not there twice after it."""
    events = sample_events(10)
    subject = opened(redis.url)
    assert_stores(subject, events)
    redis.kill()
    redis.start()
    assert {Outcome.RETRY} == {verdict.outcome for verdict in deliver(subject, events, 80)}
    assert_stores(subject, events)
    assert [event.data for event in events] == stored(redis.url)


def test_asked_while_it_refuses_everything(redis: NativeRedis) -> None:
    """A refusal that says nothing of duplicates decides nothing: the events come back, and are there once later."""
    subject = opened(redis.url)
    with redis.client() as client:
        client.replicaof("127.0.0.1", "1")
        (verdict,) = deliver(subject, sample_events(5), 80)
        assert (Outcome.RETRY, True) == (verdict.outcome, "READONLY" in verdict.reason)
        client.replicaof("NO", "ONE")
    for _ in range(2):
        assert_stores(subject, sample_events(5))
    assert len(stored(redis.url)) == 5


def test_a_user_who_may_not_widen_the_window(redis: NativeRedis) -> None:
    """The right to add to the stream is enough; the window is the server's own."""
    with redis.client() as client:
        client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping", "+xadd"], keys=[STREAM])
    subject = opened(redis.url.replace("redis://", "redis://writer:secret@"))
    for _ in range(2):
        assert_stores(subject, sample_events(5))
    assert len(stored(redis.url)) == 5
    assert window(redis) < (86_400, 10_000)


def test_the_server_becomes_an_older_one() -> None:
    """After a failover to a server without it the events are stored the plain way."""
    older = NativeRedis()
    try:
        with newer_redis() as server:
            subject = opened(server.url)
            assert_stores(subject, sample_events(5))
            older.port, older.url = server.port, server.url
        older.start()
        assert {Outcome.RETRY} == {verdict.outcome for verdict in deliver(subject, sample_events(5), 80)}
        until(lambda: subject.available() is None, 20, "the older one answers")
        assert_stores(subject, sample_events(5))
        assert len(stored(older.url)) == 5
    finally:
        older.remove()


def test_each_stream_has_its_window(redis: NativeRedis) -> None:
    """With shards and groups too, what is written twice is there once."""
    events = sample_events(100)
    subject = opened(redis.url, stream="celery-{group}", shards=3)
    for _ in range(2):
        assert_stores(subject, events)
    with redis.client() as client:
        assert sum(client.xlen(key) for key in client.keys("celery-*")) == 100


def test_nothing_is_taken_while_the_answer_is_unknown(redis: NativeRedis) -> None:
    """A server that is gone when it is asked is an outage."""
    subject = opened(redis.url)
    redis.kill()
    assert {Outcome.RETRY} == {verdict.outcome for verdict in deliver(subject, sample_events(5), 80)}
    with pytest.raises(SinkUnavailable):
        subject.available()
    redis.start()
    until(lambda: subject.available() is None, 20, "Redis answers again")
    assert_stores(subject, sample_events(5))
