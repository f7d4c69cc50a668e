"""The queues and their arguments where an order is kept."""

from __future__ import annotations

from typing import Any

import pytest

from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.config.loading import load

SHARD = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
    "x-max-length-bytes": 4 * 2**30,
}


def topology(**variables: str) -> Topology:
    return Topology.from_settings(load(variables).broker[1])


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"BRIDGE_SHARDS": "3"}, ["celeryev.bridge.0", "celeryev.bridge.1", "celeryev.bridge.2"]),
        ({"BRIDGE_ORDERED": "true"}, ["celeryev.bridge.0"]),
    ],
)
def test_in_order_nothing_expires_and_one_consumer_is_active(variables: dict[str, str], names: list[str]) -> None:
    """What expires behind messages in hand would be in overflow before them."""
    found = topology(**variables)
    spread = {"x-queue-leader-locator": "balanced"} if len(names) > 1 else {}
    assert dict.fromkeys(names, SHARD | spread) == {queue.name: dict(queue.arguments) for queue in found.lives}
    assert [*found.lives] == [*found.consumed]
    assert ["celeryev.bridge.rejected", *names] == [queue.name for queue in found.queues]


def test_events_reach_shards_only_once_each_is_bound() -> None:
    """An exchange that is bound and does not know all of its queues would give them away to nobody."""
    calls: list[str] = []

    class Channel:
        def exchange_declare(self, name: str, kind: str, **_: Any) -> None:
            calls.append(f"{kind} {name}")

        def queue_bind(self, queue: str, exchange: str, routing_key: str) -> None:
            calls.append(f"{queue} to {exchange} by {routing_key}")

        def exchange_bind(self, destination: str, source: str, routing_key: str) -> None:
            calls.append(f"{destination} to {source} by {routing_key}")

    topology(BRIDGE_SHARDS="2").bind(Channel())
    assert [
        "x-consistent-hash celeryev.bridge.shards",
        "celeryev.bridge.0 to celeryev.bridge.shards by 1",
        "celeryev.bridge.1 to celeryev.bridge.shards by 1",
        "celeryev.bridge.shards to celeryev by #",
    ] == calls
