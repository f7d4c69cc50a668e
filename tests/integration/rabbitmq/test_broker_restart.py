"""RabbitMQ restarted and killed with messages waiting: nothing is lost, and every replica consumes again by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import RabbitMQ
from tests.support.stores import FULL, Store, await_stored

MESSAGES = 5000

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


def stop_and_start_app(server: RabbitMQ) -> None:
    server.ctl("stop_app")
    server.ctl("start_app")


def kill_and_start(server: RabbitMQ) -> None:
    server.kill()
    server.start()


SHORT = [("redis", kill_and_start)]
ALL = [(store, restart) for store in ("sqlite", "redis", "kafka") for restart in (stop_and_start_app, kill_and_start)]


@pytest.mark.parametrize(("store", "restart"), ALL if FULL else SHORT, indirect=["store"])
def test_the_broker_restarts_with_messages_waiting(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, store: Store, restart: Callable[[RabbitMQ], None]
) -> None:
    """What RabbitMQ had confirmed to its publisher is stored, and each of three replicas takes its share afterwards."""
    broker_url = own_rabbitmq.new_vhost()
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_PREFETCH": "100"}
    bridges = [start_bridge(**settings) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    own_rabbitmq.await_queues_on_disk(broker_url, 3)
    store.stop()
    before, after = oracle.numbered(0, MESSAGES), oracle.numbered(MESSAGES, MESSAGES)
    oracle.publish(broker_url, before)
    restart(own_rabbitmq)
    store.start()
    for bridge in bridges:
        bridge.await_ready()
    received = [bridge.metric("messages_received_total") for bridge in bridges]
    oracle.publish(broker_url, after)
    expected = [message.body for message in before + after]
    await_stored(store, expected, 60)
    for bridge, earlier in zip(bridges, received, strict=True):
        assert bridge.metric("messages_received_total") > earlier, "a replica consumes no more"
        assert 1 <= bridge.metric("reconnects_total", end="broker")
        assert 0 == bridge.stop()
    stored = store.bodies()
    assert Counter() == oracle.missing(expected, stored)
    assert set(expected) == set(stored)
    print(f"{len(expected)} messages, {len(stored) - len(set(stored))} duplicates on the wire, 0 missing")
