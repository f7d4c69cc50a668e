"""Entries and keys that somebody takes away from a Redis stream: told of once, and the sink goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.testing import sample_events
from tests.faults.proxy import Proxy
from tests.support.redis_sinks import in_use, looked_at, opened, port, replicate, store_all, through, told
from tests.support.servers import Redis
from tests.support.servers.debian import until

STREAM = "celery-events"


@pytest.mark.parametrize(
    "how", ["FLUSHALL", "DEL", "RENAME", "XTRIM", "XDEL", "SWAPDB", "FLUSHALL and written to again"]
)
def test_entries_that_somebody_removes(
    own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The next look says so, once, with their number; and goes on from there."""
    subject = looked_at(own_redis.url)
    gone = 20
    if how == "XTRIM":
        gone = int(client.xtrim(STREAM, maxlen=5, approximate=False))
    elif how == "XDEL":
        gone = int(client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)[5:8]]))
    elif how == "SWAPDB":
        client.swapdb(0, 1)
    else:
        client.execute_command(*{"DEL": ("DEL", STREAM), "RENAME": ("RENAME", STREAM, "x")}.get(how, ("FLUSHALL",)))
        if how == "FLUSHALL and written to again":
            store_all(subject, sample_events(25))
    subject.look()
    subject.look()
    assert told("stream-shrunk") == gone
    (line,) = [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "stream-shrunk"]
    assert f"{gone} entries of the stream 'celery-events'" in line
    is_gone = how not in ("XTRIM", "XDEL")
    assert (
        is_gone == ("at least" in line) == ("deleted" in line) != ("removed from it by somebody (XTRIM, XDEL)" in line)
    )
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") == gone


@pytest.mark.parametrize("how", ["RENAME", "SWAPDB"])
def test_what_was_written_while_another_stream_had_its_name(own_redis: Redis, client: Client, how: str) -> None:
    """The stream is in its place again before a look, and goes on; what went elsewhere is told of by its number."""
    subject = looked_at(own_redis.url)
    there = {"RENAME": lambda: client.rename(STREAM, "aside"), "SWAPDB": lambda: client.swapdb(0, 1)}[how]
    back = {"RENAME": lambda: client.rename("aside", STREAM), "SWAPDB": lambda: client.swapdb(0, 1)}[how]
    there()
    store_all(subject, sample_events(60))
    back()
    store_all(subject, sample_events(10))
    for _ in range(2):
        subject.look()
    assert told("stream-shrunk") == 60
    store_all(subject, sample_events(10))
    subject.look()
    assert told("stream-shrunk") == 60


@pytest.mark.parametrize("trim", ["acked", "maxlen=1000000"])
def test_what_no_rule_of_ours_removes_is_somebodys(own_redis: Redis, client: Client, trim: str) -> None:
    """Where no group reads nothing is acknowledged, and a bound that is far away removes nothing."""
    subject = looked_at(own_redis.url, trim=trim)
    assert 15 == client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)[:15]])
    store_all(subject, sample_events(25))
    subject.look()
    assert (15, 0) == (told("stream-shrunk"), told("removed"))


def test_redis_comes_back_empty(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """What was there is said to be gone, and that it is another process."""
    subject = looked_at(own_redis.url)
    client.config_set("appendonly", "no")
    for file in Path(client.config_get("dir")["dir"]).glob("appendonlydir/*"):
        file.unlink()
    client.close()
    own_redis.kill()
    own_redis.start()
    until(lambda: subject.available() is None, 20, "Redis answers again")
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") >= 20
    assert caplog.text.count("another process than before") == 1
    notices.NOTICES.clear()
    with own_redis.client() as again:
        again.xdel(STREAM, again.xrange(STREAM)[0][0])
    subject.look()
    assert (told("stream-shrunk"), caplog.text.count("another process than before")) == (1, 1)


def test_a_restart_with_its_file_is_no_loss(own_redis: Redis) -> None:
    """Nothing is said of a server that comes back with all it had."""
    subject = looked_at(own_redis.url)
    own_redis.kill()
    own_redis.start()
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") == 0


def test_a_replica_without_the_last_entries_is_promoted(
    own_redis: Redis, client: Client, proxy: Proxy, second_redis: Redis
) -> None:
    """What the old master had confirmed and the new one has not got is said to be gone, though it has newer ones."""
    subject = in_use(through(proxy))
    subject.look()
    with second_redis.client() as second:
        replicate(second, own_redis.url)
        second.replicaof("NO", "ONE")
        store_all(subject, sample_events(3))
        proxy.lead_to(port(second_redis.url))
        client.replicaof("127.0.0.1", str(port(second_redis.url)))
        store_all(subject, sample_events(30))
        subject.look()
        assert told("stream-shrunk") >= 1


def test_the_key_becomes_another_type(own_redis: Redis, client: Client) -> None:
    """A look says which key, and what to do; it goes on once it is a stream again."""
    subject = looked_at(own_redis.url)
    client.rename(STREAM, "aside")
    client.set(STREAM, "no stream")
    with pytest.raises(SinkUnavailable, match=f"WRONGTYPE.*'{STREAM}' is no stream"):
        subject.look()
    client.delete(STREAM)
    client.rename("aside", STREAM)
    subject.look()
    assert told("stream-shrunk") == 0


def test_a_user_who_may_only_add_is_not_looked_after(own_redis: Redis, client: Client) -> None:
    """Without the right to ask nothing is said, and nothing fails."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping", "+xadd"], keys=[STREAM])
    subject = opened(own_redis.url.replace("redis://", "redis://writer:secret@"))
    store_all(subject, sample_events(5))
    subject.look()
    client.flushall()
    subject.look()
    assert told("stream-shrunk") == 0
