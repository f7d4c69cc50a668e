"""Redis in order: a batch is stored wholly or not at all, and nothing behind it before it."""

from __future__ import annotations

from redis.exceptions import ResponseError

from celery_event_bridge.contract import Outcome
from celery_event_bridge.testing import deliver
from celery_event_sinks.redis.in_order import OrderedRedisSink, Transactions
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.sink import RedisStreamsSink
from tests.support.closing import close_later
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.streams import some


def packed(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


GOOD, BAD = packed(b"XADD", b"s", b"*", b"a", b"1"), packed(b"XADD", b"s")


def transactions(url: str) -> Transactions:
    client = RedisSettings(url=url).client()
    close_later(client)
    return Transactions(client)


def test_one_command_that_redis_does_not_take_leaves_all_undone(redis_url: str, redis_server: Redis) -> None:
    """Each gets that error for its own, and is tried again."""
    subject = transactions(redis_url)
    subject.write([GOOD, BAD, GOOD])
    replies, lost = subject.read(0.0)
    assert lost is None
    assert ["wrong number of arguments"] * 3 == [str(reply)[:25] for reply in replies]
    with redis_server.client() as client:
        assert 0 == client.xlen("s")
    subject.write([GOOD, GOOD])
    replies, _ = subject.read(0.0)
    assert [bytes, bytes] == [type(reply) for reply in replies]


def test_without_a_transaction_nothing_is_carried_out(redis_url: str, redis_server: Redis) -> None:
    """Were the beginning refused and the rest sent with it, Redis would carry the rest out one by one."""
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "without", "on", ">pw", "~*", "+@all", "-multi")
    try:
        subject = transactions(redis_url.replace("redis://", "redis://without:pw@"))
        subject.write([GOOD, GOOD])
        replies, lost = subject.read(0.0)
        assert lost is None
        assert all(isinstance(reply, ResponseError) and "multi" in str(reply).lower() for reply in replies)
    finally:
        with redis_server.client() as client:
            client.execute_command("ACL", "DELUSER", "without")
    with redis_server.client() as client:
        assert 0 == client.xlen("s")


def test_a_connection_that_is_cut_gives_all_back(redis_url: str, redis_server: Redis) -> None:
    """Nobody knows what became of them; the next batch goes by a new connection."""
    subject = transactions(redis_url)
    subject.write([GOOD])
    subject.read(0.0)
    with redis_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    subject.write([GOOD])
    replies, lost = subject.read(0.0)
    assert ([], True) == (replies, subject.was_cut)
    assert lost is not None
    subject.write([GOOD])
    replies, lost = subject.read(0.0)
    assert (1, None) == (len(replies), lost)


def test_events_are_stored_in_their_order_over_a_full_memory(own_redis: Redis) -> None:
    """Redis takes nothing for a while, and then goes on where it was."""
    sink = RedisStreamsSink.in_order(RedisSettings(url=own_redis.url))
    assert isinstance(sink, OrderedRedisSink)
    close_later(sink)
    sink.open()
    events = some(5000)
    with own_redis.client() as client:
        deliver(sink, events[:1000], 30)
        client.config_set("maxmemory", "1")
        verdicts = deliver(sink, events[1000:3000], 30)
        assert {Outcome.RETRY} == {verdict.outcome for verdict in verdicts}
        assert list(events[1000:3000]) == [event for verdict in verdicts for event in verdict.events]
        client.config_set("maxmemory", "0")
        until(lambda: sink.available() is None, 20, "it stores again")
        deliver(sink, events[1000:], 30)
        assert [event.id.encode() for event in events] == [entry[b"id"] for _, entry in client.xrange("celery-events")]
