"""Keys of the bridges' own that somebody overwrites, under bridges that run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis as Client

from celery_event_bridge.brokers.envelope import Heard
from celery_event_bridge.brokers.redis.parked import parked_messages
from celery_event_bridge.brokers.redis.parking import RedisParking
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.contract.broker import Parcel, Rejection
from tests.support.bridges import Bridge, run_to_end
from tests.support.redis_broker import Publisher, settings, stored
from tests.support.servers import Redis
from tests.support.servers.debian import until

LEASE, RECORD = "celeryev.bridge.lease", "celeryev.bridge.record"
REJECTED, SIZE = "celeryev.bridge.rejected", "celeryev.bridge.rejected.size"
CHANGES: dict[str, Callable[[Client], object]] = {
    "the lease is a list": lambda client: client.delete(LEASE) + client.lpush(LEASE, "x"),  # type: ignore[operator]
    "the record is a text": lambda client: client.set(RECORD, "x"),
    "the token is no number": lambda client: client.hset(RECORD, "token", "abc"),
    "the token is past all numbers": lambda client: client.hset(RECORD, "token", "1e300"),
    "the place is no text": lambda client: client.hset(RECORD, "location", b"\xff"),
    "the lease is no text": lambda client: client.set(LEASE, b"\xff\xfe"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_is_overwritten_is_made_again(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path, how: str
) -> None:
    """Events wait for seconds at most, none is lost, and no connection is given up for it."""
    file = tmp_path / "events.db"
    bridges = [start_bridge(**settings(own_redis, file)) for _ in range(2)]
    for bridge in bridges:
        bridge.await_ready()
    publisher = Publisher(own_redis.url, rate=100)
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    with own_redis.client() as client:
        CHANGES[how](client)
    before = len(publisher.sent)
    until(lambda: len(publisher.sent) > before + 100, 20, "more is published")
    last = max(publisher.sent, key=publisher.sent.__getitem__)
    until(lambda: last in stored(file), 15, "events are stored again")
    sent = publisher.finish()
    until(lambda: sent <= stored(file), 20, "all is stored")
    for bridge in bridges:
        until(lambda bridge=bridge: bridge.get("/readyz")[0] == 200, 10, "it is ready")  # type: ignore[misc]
        assert 0 == bridge.metric("reconnects_total")
        assert 0 == bridge.metric("gaps_total")


def parcels(count: int) -> list[Parcel]:
    bodies = [b"%0100d" % number for number in range(count)]
    return [Parcel(Heard(None, 0, body, "", {}, raw=True), Rejection("undecodable", "")) for body in bodies]


@pytest.mark.parametrize("how", ["purged", "size is a text", "size is no number", "size is gone"])
def test_what_is_parked_is_bounded_by_what_is_there(own_redis: Redis, how: str) -> None:
    """Whatever has become of what was counted: what there is room for is kept, and nothing else."""
    given = Settings(broker_url=own_redis.url, rejected_max_bytes=3000)
    parking = RedisParking(given)
    parking.park(parcels(10))
    with own_redis.client() as client:
        assert 10 == client.llen(REJECTED)
        if how == "purged":
            with parked_messages(given) as messages:
                assert messages.purge(lambda _: True)
            client.rpush(REJECTED, "kept")
        elif how == "size is a text":
            client.set(SIZE, "x")
        elif how == "size is no number":
            client.hset(SIZE, "bytes", "abc")
        else:
            client.delete(SIZE)
        parking.park(parcels(4) if how == "purged" else parcels(1))
        if how == "purged":
            assert b"kept" in client.lrange(REJECTED, 0, -1)
        parking.park(parcels(40))
        size = sum(map(len, client.lrange(REJECTED, 0, -1)))
        assert 2500 < size <= 3000
    parking.close()


def test_two_operators_at_once_take_out_each_message_once(own_redis: Redis) -> None:
    """Also where many are alike to the letter; what is parked meanwhile stays."""
    given = Settings(broker_url=own_redis.url)
    with own_redis.client() as client:
        client.rpush(REJECTED, *(f"{number // 3}" for number in range(3000)))

        def purge() -> int:
            with parked_messages(given) as messages:
                return messages.purge(lambda one: bool(client.rpush(REJECTED, "meanwhile")) and one.size < 9)

        with ThreadPoolExecutor(2) as operators:
            purged = [operators.submit(purge) for _ in range(2)]
            assert 3000 == sum(each.result(60) for each in purged)
        assert {b"meanwhile"} == {*client.lrange(REJECTED, 0, -1)}


def test_two_deployments_of_other_events_on_one_lease_say_so(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """The one that stands by hears events which nobody forwards, though both store in the same place."""
    given = settings(own_redis, tmp_path / "events.db")
    start_bridge(**given).await_ready().await_log("this bridge forwards")
    other = start_bridge(**given, BRIDGE_EVENT_EXCHANGE="other")
    line = other.await_log("give one of them a BRIDGE_QUEUE of its own")
    assert "from channel /0.other" in line["event"]
    assert 503 == other.get("/readyz")[0]
    checked = run_to_end("celery_event_bridge", "check", **given, BRIDGE_EVENT_EXCHANGE="other")
    assert (1, True) == (checked.returncode, "would stand by and store nothing" in checked.stdout), checked


def test_two_replicas_with_other_settings_of_what_is_stored_say_so(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """Both are ready, as nothing is lost by it that was to be stored by who forwards; `check` says it as well."""
    given = settings(own_redis, tmp_path / "events.db")
    first = start_bridge(**given).await_ready()
    second = start_bridge(**given, BRIDGE_EVENT_TYPES="task-*", BRIDGE_BROKER_NAME="eu").await_ready()
    for bridge, said in ((first, ("S=task-*,", "NAME=eu,")), (second, ("S=*,", "no BRIDGE_BROKER_NAME,"))):
        for part in said:
            bridge.await_log(part)
        assert 2 <= bridge.metric("notices_total", kind="competitor")
        assert 200 == bridge.get("/readyz")[0]
    checked = run_to_end("celery_event_bridge", "check", **given)
    assert "has BRIDGE_EVENT_TYPES=task-*, and this one has BRIDGE_EVENT_TYPES=*" in checked.stdout
    assert "has BRIDGE_BROKER_NAME=eu, and this one has no BRIDGE_BROKER_NAME" in checked.stdout
