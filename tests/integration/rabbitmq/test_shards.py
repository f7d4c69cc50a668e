"""Shards, on a real RabbitMQ: order whoever dies, even shares, and a line where they cannot be had."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from amqp.exceptions import NotFound

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.load import Load
from tests.support.order import order_of
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import FULL, Store, await_stored

SHARDS = 4
OURS = "celery-event-bridge."
SECONDS, EVERY, OUTAGE = (300.0, 3.0, 30.0) if FULL else (12.0, 1.5, 3.0)
"""Of the load, between two faults, and of the sink's outage within."""


def active(node: RabbitMQ, url: str) -> dict[str, str]:
    """The replica that is active on each shard, by the shard's name."""
    listed = node.ctl("list_consumers", "-p", url.rpartition("/")[2], "queue_name", "consumer_tag", "active")
    rows = [line.split("\t") for line in listed.splitlines()]
    return {
        queue: tag.removeprefix(OURS).partition(".")[0]
        for queue, tag, is_active in (row for row in rows if len(row) == 3)
        if is_active == "true" and tag.startswith(OURS) and queue.rpartition(".")[2].isdigit()
    }


@pytest.mark.parametrize("store", ["sqlite", "redis", "kafka"], indirect=True)
def test_each_workers_events_stay_in_order_whoever_dies(
    store: Store, broker_url: str, start_bridge: Callable[..., Bridge]
) -> None:
    """Replicas are killed, frozen and stopped, and the sink is away for a while: nothing is missing or overtaken."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SHARDS": str(SHARDS)}
    bridges = [start_bridge(**settings) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    load = Load(broker_url, 500, hosts=40)
    load.start()
    began, dice, is_away, was_away = time.monotonic(), random.Random(1), False, False
    while (passed := time.monotonic() - began) < SECONDS:
        time.sleep(EVERY)  # a fault now and then, for so long
        number = dice.randrange(3)
        fault = dice.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        bridges[number].process.send_signal(fault)
        if fault is signal.SIGSTOP:
            time.sleep(EVERY / 2)  # it stands still for so long
            bridges[number].process.send_signal(signal.SIGCONT)
        else:
            bridges[number].process.wait(60)
            bridges[number] = start_bridge(**settings)
        if not was_away and passed > SECONDS / 3:
            store.stop()
            is_away = was_away = True
        elif is_away and passed > SECONDS / 3 + OUTAGE:
            store.start()
            is_away = False
    if is_away:
        store.start()
    published = load.finish()
    await_stored(store, published, 60)
    order = order_of(store.parts())
    print(f"{len(published)} published, {order.doubled} twice")
    assert set(range(len(published))) == order.seen
    assert [] == order.overtaken


@pytest.fixture(params=["", pytest.param("trixie", marks=pytest.mark.skipif(not FULL, reason="a long one"))])
def node(request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    """A node of Debian 12's release, and at full length of one that knows priorities of single active consumers."""
    if not request.param:
        yield request.getfixturevalue("rabbitmq_server")
        return
    newer = NativeRabbitMQ(release=request.param)
    try:
        newer.start()
        yield newer
    finally:
        newer.remove()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_shares_are_even_when_replicas_come_and_go(
    node: RabbitMQ, store: Store, start_bridge: Callable[..., Bridge]
) -> None:
    """Nobody holds more than one shard above its share, ten seconds after a replica has come or gone."""
    url = node.new_vhost()
    settings = store.settings | {"BRIDGE_BROKER_URL": url, "BRIDGE_SHARDS": str(SHARDS)}
    load = Load(url, 200, hosts=40)
    bridges = [start_bridge(**settings).await_ready()]
    load.start()

    def is_even() -> bool:
        shares = Counter(active(node, url).values())
        return shares.total() == SHARDS and max(shares.values()) <= SHARDS / len(bridges) + 1

    until(is_even, 10, "one has all")
    for _ in range(3):
        bridges.append(start_bridge(**settings).await_ready())
        until(is_even, 10, f"{len(bridges)} have even shares")
    for end in (signal.SIGKILL, signal.SIGTERM):
        gone = bridges.pop()
        gone.process.send_signal(end)
        gone.process.wait(30)
        until(is_even, 10, f"{len(bridges)} have even shares")
    published = load.finish()
    await_stored(store, published, 30)
    assert [] == order_of(store.parts()).overtaken


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_one_replica_is_active_where_order_is_asked_for(
    broker_url: str, rabbitmq_server: RabbitMQ, store: Store, start_bridge: Callable[..., Bridge]
) -> None:
    """With one queue the others stand by, and one of them goes on where it is killed."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_ORDERED": "true"}
    first = start_bridge(**settings).await_ready()
    holder = active(rabbitmq_server, broker_url)
    assert ["celeryev.bridge.0"] == list(holder)
    start_bridge(**settings).await_ready()
    load = Load(broker_url, 300, total=1500)
    load.start()
    until(lambda: store.count() > 200, 20, "events are stored")
    assert holder == active(rabbitmq_server, broker_url)
    first.process.kill()
    published = load.finish(wait=True)
    await_stored(store, published, 30)
    assert holder != active(rabbitmq_server, broker_url)
    assert [] == order_of(store.parts()).overtaken


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_plug_in_that_is_missing_is_said(store: Store, start_bridge: Callable[..., Bridge]) -> None:
    """One line with what to do, from `run` and from `check`; enabled meanwhile, the bridge begins by itself."""
    node = NativeRabbitMQ(plugins=())
    try:
        node.start()
        settings = {"BRIDGE_BROKER_URL": node.new_vhost(), "BRIDGE_SHARDS": "2"} | store.settings
        checked = run_to_end("celery_event_bridge", "check", **settings | {"BRIDGE_HTTP": "off"})
        (line,) = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
        assert 1 == checked.returncode
        assert "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange" in line
        bridge = start_bridge(**settings)
        said = bridge.await_log("broker unavailable")
        assert "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange" in said["reason"]
        node.enable("rabbitmq_consistent_hash_exchange")
        bridge.await_ready()
        oracle.publish(settings["BRIDGE_BROKER_URL"], oracle.numbered(0, 20))
        until(lambda: 20 == store.count(), 20, "all are stored")
    finally:
        node.remove()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("before", "after"), [("1", "3"), ("2", "4"), ("4", "1"), ("4", "2")])
def test_another_number_of_shards_is_a_restart(
    before: str, after: str, broker_url: str, store: Store, start_bridge: Callable[..., Bridge]
) -> None:
    """Two replicas one after the other, under load, one of them killed: nothing is missing, and nothing is left."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    old = [start_bridge(**settings, BRIDGE_SHARDS=before).await_ready() for _ in range(2)]
    load = Load(broker_url, 500, hosts=40)
    load.start()
    for bridge, end in zip(old, (signal.SIGTERM, signal.SIGKILL), strict=True):
        until(lambda: store.count() > 100, 20, "events are stored")
        bridge.process.send_signal(end)
        bridge.process.wait(30)
        start_bridge(**settings, BRIDGE_SHARDS=after).await_ready()
    published = load.finish()
    await_stored(store, published, 60)
    later = oracle.numbered(len(published), 200, hosts=40)
    oracle.publish(broker_url, later)
    await_stored(store, [message.body for message in later], 20)
    until(lambda: not any(waiting(broker_url).values()), 20, "no queue holds anything")


def waiting(url: str) -> dict[str, int]:
    """Ready messages, by queue."""
    found = {}
    names = ["celeryev.bridge", "celeryev.bridge.overflow", *(f"celeryev.bridge.{number}" for number in range(SHARDS))]
    with oracle.broker(url) as connection:
        for name in names:
            channel = connection.channel()
            try:
                found[name] = int(channel.queue_declare(name, passive=True).message_count)
            except NotFound:
                continue
    return found
