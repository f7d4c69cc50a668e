"""The key of a stream that somebody lets expire, renames, copies over, sets ahead, while a bridge writes to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis as Client

from celery_event_bridge.testing import sample_events
from celery_event_sinks.redis.sink import RedisStreamsSink
from celery_event_sinks.redis.trim import trim_rule
from tests.support.redis_readers import lines
from tests.support.redis_sinks import opened, store_all, stored, told

STREAM = "celery-events"


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client.from_url(redis_url) as client:
        yield client


@pytest.fixture
def sink(redis_url: str) -> RedisStreamsSink:
    """One that has stored something, and has looked."""
    subject = opened(redis_url)
    store_all(subject, sample_events(20))
    subject.look()
    return subject


def test_an_expiry_that_somebody_sets_is_taken_away(
    sink: RedisStreamsSink, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """All of the stream would go at once; it is told of with the seconds that were left."""
    client.expire(STREAM, 3600)
    sink.look()
    assert client.ttl(STREAM) == -1
    (line,) = lines(caplog, "stream-advice")
    assert "somebody has set the stream 'celery-events' to expire in 3600 s" in line
    assert "it was taken away (PERSIST)" in line
    sink.look()
    assert told("stream-advice") == 1


def test_an_expiry_that_may_not_be_taken_away_is_told_of(
    redis_url: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """With what there is to be done."""
    client.acl_setuser("bridge", enabled=True, passwords=["+pw"], commands=["+@all", "-persist"], keys=["*"])
    subject = opened(redis_url.replace("redis://", "redis://bridge:pw@"))
    store_all(subject, sample_events(20))
    client.expire(STREAM, 3600)
    subject.look()
    assert "take it away (PERSIST), or all of it is gone then" in lines(caplog, "stream-advice")[0]
    store_all(subject, sample_events(5))
    client.acl_deluser("bridge")


def test_a_stream_that_expires_is_told_of(sink: RedisStreamsSink, client: Client) -> None:
    """With the number of entries, where no look came in time."""
    client.pexpire(STREAM, 1)
    while client.exists(STREAM):
        pass
    sink.look()
    assert told("stream-shrunk") == 20


@pytest.mark.parametrize("how", ["RENAME", "COPY", "RESTORE"])
def test_an_older_stream_that_is_put_back_between_two_looks_is_told_of(
    sink: RedisStreamsSink, client: Client, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """It is as it was at the last look, and what was confirmed since is gone with what was there meanwhile."""
    if how == "RENAME":
        client.rename(STREAM, "aside")
    elif how == "COPY":
        client.copy(STREAM, "aside")
    dump = None if how == "RENAME" else client.dump(STREAM)
    store_all(sink, sample_events(25))
    if how == "RENAME":
        client.rename("aside", STREAM)
    elif how == "COPY":
        client.copy("aside", STREAM, replace=True)
    else:
        assert dump is not None
        client.restore(STREAM, 0, dump, replace=True)
    sink.look()
    sink.look()
    (line,) = lines(caplog, "stream-shrunk")
    assert "25 entries of the stream 'celery-events' had been confirmed and are not in it" in line
    assert told("stream-shrunk") == 25
    store_all(sink, sample_events(30)[25:])
    sink.look()
    assert told("stream-shrunk") == 25


def test_a_stream_that_is_migrated_elsewhere_is_told_of(sink: RedisStreamsSink, client: Client) -> None:
    """MIGRATE takes the key along, as DUMP and DEL do; what comes goes into a new one."""
    client.dump(STREAM)
    client.delete(STREAM)
    sink.look()
    assert told("stream-shrunk") == 20
    store_all(sink, sample_events(5))


def test_ids_that_are_set_ahead_lose_nothing(sink: RedisStreamsSink, client: Client, redis_url: str) -> None:
    """XSETID gives the next entries later ids; nothing is gone, and nothing is said to be."""
    client.execute_command("XSETID", STREAM, "9999999999999-0")
    store_all(sink, sample_events(25))
    sink.look()
    assert {event.data for event in sample_events(25)} <= set(stored(redis_url))
    assert told("stream-shrunk") == 0


@pytest.mark.parametrize(
    ("trim", "warned"), [("age=30s", True), ("age=59m", True), ("age=1h", False), ("acked", False)]
)
def test_a_trim_by_a_short_age_is_advised_against(redis_url: str, trim: str, warned: bool) -> None:
    """By `check` and once by `run`, as a retention of SQLite's or of a Kafka topic is."""
    texts = [finding.text for finding in opened(redis_url, trim=trim_rule(trim)).advice()]
    assert warned == any(text.startswith("BRIDGE_REDIS_TRIM=age=") and "Give at least 1h" in text for text in texts)
