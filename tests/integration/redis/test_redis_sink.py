"""The Redis sink against a real server: what every sink holds, each refusal of the server, replicas, trimming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Event, Outcome, Sink, SinkUnavailable, Verdict
from celery_event_bridge.testing import SinkContract, await_verdicts, deliver, sample_events
from celery_event_sinks.redis.sink import RedisStreamsSink
from tests.faults.on_redis import snapshot
from tests.support.redis_sinks import as_contract, in_use, opened, sink, stored
from tests.support.servers import Redis, redis
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis

STREAM = "celery-events"


class TestRedisContract(SinkContract):
    """What every sink holds."""

    keeps_key = False

    @pytest.fixture
    def make_sink(self, own_redis: Redis) -> Callable[[], Sink]:
        self.server = own_redis
        return lambda: sink(own_redis.url)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.server.kill()
        yield
        self.server.start()

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return as_contract(self.server.url)


def assert_refuses_for_now(subject: RedisStreamsSink, *reasons: str) -> None:
    """Events are given back with the reason, and `available` gives the same."""
    events = sample_events(5)
    (verdict,) = deliver(subject, events, 80)
    assert (Outcome.RETRY, events) == (verdict.outcome, list(verdict.events))
    with pytest.raises(SinkUnavailable) as failure:
        subject.available()
    for reason in reasons:
        assert reason in verdict.reason
        assert reason in str(failure.value)


def test_out_of_memory(own_redis: Redis, client: Client) -> None:
    """At maxmemory nothing is lost: the events come back, and are stored once there is room."""
    subject = in_use(own_redis.url)
    client.config_set("maxmemory", "1")
    assert_refuses_for_now(subject, "OOM")
    client.config_set("maxmemory", "0")
    subject.available()
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, sample_events(5), 80)}


def test_a_replica_is_read_only(own_redis: Redis, client: Client) -> None:
    """A server that has become a replica is an outage."""
    subject = in_use(own_redis.url)
    client.replicaof("127.0.0.1", "1")
    assert_refuses_for_now(subject, "READONLY")
    client.replicaof("NO", "ONE")
    subject.available()


def test_a_server_that_cannot_write_to_its_disk() -> None:
    """MISCONF is an outage."""
    server = NativeRedis("--enable-protected-configs", "yes")
    try:
        server.start()
        subject = in_use(server.url)
        with server.client() as client:
            # A name that is a folder: the snapshot fails, and then writes are refused.
            client.config_set("dbfilename", "appendonlydir")
            client.config_set("save", "3600 1")
            snapshot(client)
            until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20, "the snapshot has failed")
            assert_refuses_for_now(subject, "MISCONF")
            client.config_set("save", "")
        subject.available()
    finally:
        server.remove()


def test_too_few_replicas_for_the_server(own_redis: Redis, client: Client) -> None:
    """NOREPLICAS, of a server's own rule, is an outage."""
    subject = in_use(own_redis.url)
    client.config_set("min-replicas-to-write", "1")
    assert_refuses_for_now(subject, "NOREPLICAS")
    client.config_set("min-replicas-to-write", "0")
    subject.available()


def test_the_key_is_no_stream(own_redis: Redis, client: Client) -> None:
    """An operator can mend that, so it is an outage with a line that names the key and the setting."""
    client.set(STREAM, "something else")
    subject = opened(own_redis.url)
    assert_refuses_for_now(subject, "WRONGTYPE", repr(STREAM), "BRIDGE_REDIS_STREAM")
    client.delete(STREAM)
    subject.available()


def test_a_user_who_may_not_write(own_redis: Redis, client: Client) -> None:
    """NOPERM names what is missing; a user who may only add to this stream is enough."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping"], keys=["other"])
    url = own_redis.url.replace("redis://", "redis://writer:secret@")
    subject = opened(url)
    assert_refuses_for_now(subject, "NOPERM")
    client.acl_setuser("writer", enabled=True, commands=["+xadd"], keys=[STREAM])
    again = opened(url)
    again.available()
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(again, sample_events(5), 80)}


def test_a_restart_with_its_file(own_redis: Redis) -> None:
    """A killed server is an outage; what it had confirmed is there when it is back, and so is what came after."""
    events = sample_events(20)
    subject = opened(own_redis.url)
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, events[:10], 80)}
    own_redis.kill()
    (verdict,) = deliver(subject, events[10:], 80)
    assert (Outcome.RETRY, events[10:]) == (verdict.outcome, list(verdict.events))
    own_redis.start()
    subject.open()
    subject.available()
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, events[10:], 80)}
    assert [event.data for event in events] == stored(own_redis.url)


def test_a_connection_lost_between_write_and_reply(own_redis: Redis, client: Client) -> None:
    """What was written and not answered is given back and written again: a duplicate with the same id, no loss."""
    events = sample_events(10)
    subject = opened(own_redis.url)
    own_redis.pause()
    subject.send(events)
    verdicts = await_verdicts(subject, 10, 80)
    assert {Outcome.RETRY} == {verdict.outcome for verdict in verdicts}
    own_redis.resume()
    until(lambda: subject.available() is None, 20, "Redis answers again")
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, events, 80)}
    assert {event.data for event in events} == set(stored(own_redis.url))


def test_a_killed_connection(own_redis: Redis, client: Client) -> None:
    """A connection that an operator has killed is made anew with the next batch."""
    subject = opened(own_redis.url)
    client.client_kill_filter(_type="normal", skipme=True)
    (verdict,) = deliver(subject, sample_events(5), 80)
    assert Outcome.RETRY is verdict.outcome
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, sample_events(5), 80)}


def test_a_value_that_the_server_will_never_take(own_redis: Redis, client: Client) -> None:
    """Over proto-max-bulk-len the one event is refused for good; the others around it are stored."""
    client.config_set("proto-max-bulk-len", str(1024 * 1024))
    events = [*sample_events(2), Event("big", "task-sent", "w", None, "w", None, b"x" * 2_000_000), *sample_events(3)]
    subject = opened(own_redis.url)
    left, verdicts = list(events), list[Verdict]()
    while left:
        arrived = deliver(subject, left, 80)
        verdicts += arrived
        left = [event for verdict in arrived if verdict.outcome is Outcome.RETRY for event in verdict.events]
    refused = [event for verdict in verdicts if verdict.outcome is Outcome.REFUSED for event in verdict.events]
    assert [events[2]] == refused
    assert [event.data for event in events if event is not events[2]] == stored(own_redis.url)


def test_wait_for_replicas(own_redis: Redis) -> None:
    """With BRIDGE_REDIS_WAIT=1 nothing counts as stored before a replica has it; the write is not done again."""
    subject = opened(own_redis.url, wait=1)
    with pytest.raises(SinkUnavailable, match="BRIDGE_REDIS_WAIT=1: only 0"):
        subject.available()
    events = sample_events(10)
    subject.send(events)
    assert [] == list(subject.verdicts(0.0))
    assert [] == list(subject.verdicts(0.0))
    with redis(own=True) as replica, replica.client() as client:
        host, port = own_redis.url.rpartition("/")[0].removeprefix("redis://").split(":")
        client.replicaof(host, port)
        (verdict,) = await_verdicts(subject, 10, 80)
        assert (Outcome.STORED, events) == (verdict.outcome, list(verdict.events))
        until(lambda: subject.available() is None, 20, "the replica answers in time")
    assert [event.data for event in events] == stored(own_redis.url)


def test_waitaof_on_a_server_without_it(own_redis: Redis, client: Client) -> None:
    """Before 7.2 there is no WAITAOF: one line says so, and nothing is taken."""
    if client.info("server")["redis_version"] >= "7.2":
        pytest.skip("this Redis knows WAITAOF")
    with pytest.raises(SinkUnavailable, match=r"BRIDGE_REDIS_WAITAOF=1: .*it needs Redis >= 7.2"):
        opened(own_redis.url, waitaof=1).available()


def test_streams_by_group_and_by_key(redis_url: str, redis_server: Redis) -> None:
    """`{group}` parts tasks from workers; shards part by key, and a key stays in its shard."""
    events = sample_events(60)
    subject = opened(redis_url, stream="celery-{group}", shards=4)
    subject.available()
    deliver(subject, events, 80)
    with redis_server.client() as client:
        names = {name.decode() for name in client.keys("celery-*")}
        assert {f"celery-worker:{{{n}}}" for n in range(4)} | {f"celery-task:{{{n}}}" for n in range(4)} >= names
        where: dict[bytes, set[str]] = {}
        found = []
        for name in names:
            for _, fields in client.xrange(name):
                found.append(fields[b"data"])
                where.setdefault(fields.get(b"subject", fields[b"source"]), set()).add(name)
    assert sorted(event.data for event in events) == sorted(found)
    assert {1} == {len(streams) for streams in where.values()}


def test_trim_by_length(redis_url: str) -> None:
    """About so many entries are kept, the newest."""
    subject = opened(redis_url, trim="maxlen=100")
    events = sample_events(2000, size=10)
    deliver(subject, events, 80)
    kept = stored(redis_url)
    assert 100 <= len(kept) <= 300
    assert [event.data for event in events[-len(kept) :]] == kept


def test_trim_by_age(redis_url: str, redis_server: Redis) -> None:
    """Entries older than that go; younger ones stay."""
    with redis_server.client() as client, client.pipeline() as pipeline:
        for number in range(1, 501):
            pipeline.xadd(STREAM, {"data": "old"}, id=f"{number}-1")
        pipeline.execute()
    subject = opened(redis_url, trim="age=1d")
    events = sample_events(10)
    deliver(subject, events, 80)
    kept = stored(redis_url)
    assert [event.data for event in events] == kept[-10:]
    assert len(kept) < 200


def test_trim_what_all_groups_have_acknowledged(redis_url: str, redis_server: Redis) -> None:
    """Nothing goes while there is no group, nor while one group has not acknowledged it; then it goes."""
    subject = opened(redis_url, trim="acked", trim_interval=0.0)
    events = sample_events(1000, size=10)
    deliver(subject, events, 80)
    assert 1000 == len(stored(redis_url))
    with redis_server.client() as client:
        client.xgroup_create(STREAM, "fast", "0")
        client.xgroup_create(STREAM, "slow", "0")
        [[_, entries]] = client.xreadgroup("fast", "a", {STREAM: ">"}, count=1000)
        client.xack(STREAM, "fast", *[entry for entry, _ in entries])
        deliver(subject, sample_events(1), 80)
        assert 1001 == len(stored(redis_url))
        [[_, entries]] = client.xreadgroup("slow", "a", {STREAM: ">"}, count=1000)
        client.xack(STREAM, "slow", *[entry for entry, _ in entries[:600]])
        deliver(subject, sample_events(1), 80)
        left = stored(redis_url)
        # About 600 may go; what the slow group has not acknowledged may not.
        assert [event.data for event in events[600:]] == left[len(left) - 402 : -2]
        assert len(left) < 600


def test_advice(own_redis: Redis, client: Client) -> None:
    """It says which of the server's settings may lose what it has confirmed."""
    subject = opened(own_redis.url)
    client.config_set("appendfsync", "everysec")
    assert any("appendfsync is everysec" in finding.text for finding in subject.advice())
    client.config_set("appendfsync", "always")
    assert [] == list(subject.advice())
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert any("maxmemory-policy" in finding.text for finding in subject.advice())
