"""Redis >= 8.6 drops what is written again; what cannot drop it, older ones and Valkey, is written to all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Outcome, Sink, SinkUnavailable
from celery_event_bridge.testing import SinkContract, await_verdicts, deliver, sample_events
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from celery_event_sinks.redis.trim import Trim
from tests.support.redis_sinks import as_contract, opened, stored, told
from tests.support.replaying import happened, replay
from tests.support.servers import newer_redis, valkey
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis
from tests.support.streams import in_sqlite

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
        self.url = redis.url
        return lambda: RedisStreamsSink(RedisSettings(url=redis.url))

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return as_contract(self.url)


class TestValkeyContract(TestNewerRedisContract):
    """What every sink holds."""

    @pytest.fixture
    def make_sink(self, _valkey: NativeRedis) -> Callable[[], Sink]:
        with _valkey.client() as client:
            client.flushall()
        self.url = _valkey.url
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


# What it takes for stored is gone ------------------------------------------------------------------------------------


def gone(client: Client, how: str, stream: str = STREAM) -> int:
    """Entries that somebody removes while Redis remembers their ids."""
    if how == "XDEL":
        return int(client.xdel(stream, *[entry for entry, _ in client.xrange(stream)[50:80]]))
    return int(client.xtrim(stream, maxlen=0, approximate=False))


@pytest.mark.parametrize("how", ["XDEL", "XTRIM"])
@pytest.mark.parametrize("other", [False, True], ids=["the same sink", "another one, as replay's"])
def test_what_redis_remembers_and_has_no_more_is_written_again(redis: NativeRedis, how: str, other: bool) -> None:
    """Confirmed means that it is there: what is gone is there again, once, and told of; the rest is not there twice."""
    events = sample_events(300)
    subject = opened(redis.url)
    assert_stores(subject, events)
    with redis.client() as client:
        missing = gone(client, how)
    again = opened(redis.url) if other else subject
    for _ in range(2):
        assert_stores(again, events)
        assert sorted(event.data for event in events) == sorted(stored(redis.url))
    assert told("stored-again") == missing
    with redis.client() as client:  # and what was written again, once more
        missing += gone(client, how)
    assert_stores(opened(redis.url), events)
    assert sorted(event.data for event in events) == sorted(stored(redis.url))
    assert told("stored-again") == missing


def test_what_another_bridge_has_written_and_is_gone_is_written_again(redis: NativeRedis) -> None:
    """A sink that had nothing to do meanwhile knows by the server's clock that an id is no new one."""
    subject, other = opened(redis.url), opened(redis.url)
    assert_stores(subject, sample_events(1))
    subject.look()
    events = sample_events(100)
    assert_stores(other, events)
    with redis.client() as client:
        assert gone(client, "XTRIM") == 100
    assert_stores(subject, events)
    assert [event.data for event in events] == stored(redis.url)


def test_gone_from_several_streams_is_written_again(redis: NativeRedis) -> None:
    """With groups and shards too, where ids of one stream say nothing of another's."""
    events = sample_events(200)
    subject = opened(redis.url, stream="celery-{group}", shards=3)
    assert_stores(subject, events)
    with redis.client() as client:
        missing = sum(gone(client, "XTRIM", key) for key in client.keys("celery-*")[:2])
        assert 0 < missing < 200
        assert_stores(subject, events)
        assert sum(client.xlen(key) for key in client.keys("celery-*")) == 200
    assert told("stored-again") == missing


@pytest.mark.parametrize("trim", ["maxlen=10", "age=1h", "acked"])
def test_what_a_rule_of_ours_has_removed_is_not_written_again(redis: NativeRedis, trim: str) -> None:
    """An event that comes again after BRIDGE_REDIS_TRIM has removed it is confirmed, and stays away."""
    events = sample_events(1000)
    subject = opened(redis.url, trim=trim)
    with redis.client() as client:
        if trim == "age=1h":  # Redis's own clock cannot be set: these ids are old by the rule of the next sink
            assert_stores(subject, events)
            subject = opened(redis.url, trim=Trim("age", 0.001))
            subject.look()
        elif trim == "acked":
            client.xgroup_create(STREAM, "readers", "0", mkstream=True)
            assert_stores(subject, events)
            entries = client.xreadgroup("readers", "one", {STREAM: ">"}, count=1000)[0][1]
            client.xack(STREAM, "readers", *[entry for entry, _ in entries])
        else:
            assert_stores(subject, events)
        client.xtrim(STREAM, maxlen=10, approximate=False)
    assert_stores(subject, events[:900])
    assert len(stored(redis.url)) == (0 if trim == "age=1h" else 10)
    assert told("stored-again") == 0


def test_a_replay_puts_back_what_is_gone(redis: NativeRedis, tmp_path: Path) -> None:
    """All that it says it has sent is in the stream."""
    copy = in_sqlite(tmp_path)
    events = happened(300)
    copy.write(events)
    assert_stores(opened(redis.url), events)
    with redis.client() as client:
        gone(client, "XDEL")
    done = replay("--from", copy.url, "--to", redis.url)
    assert done.stdout.startswith("300 events sent")
    assert sorted(event.data for event in events) == sorted(stored(redis.url))
