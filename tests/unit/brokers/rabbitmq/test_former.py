"""Queues of former settings: which are taken, and which are somebody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from celery_event_bridge.brokers.rabbitmq.former import LOOKS, Former, FormerQueues
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology


class Broker:
    """What is on it, and what was unbound: in the place of `Questions`."""

    def __init__(self, *exchanges: str, **queues: int) -> None:
        self.there = {name.replace("_", "."): count for name, count in queues.items()}
        self.exchanges = exchanges
        self.consumers: dict[str, int] = {}
        self.unbound: list[str] = []

    def depth(self, queue: str) -> int | None:
        if queue not in self.there:
            return None
        self.consumers[queue] = self.there[queue]
        return 7

    def exists(self, exchange: str, kind: str) -> bool:
        return kind == "x-consistent-hash" and exchange in self.exchanges

    def do(self, action: Callable[[Any], None]) -> None:
        action(self)

    def queue_unbind(self, queue: str, exchange: str, routing_key: str) -> None:
        self.unbound.append(f"{queue} from {exchange} by {routing_key}")

    def exchange_unbind(self, destination: str, source: str, routing_key: str) -> None:
        self.unbound.append(f"{destination} from {source} by {routing_key}")


def former(**settings: Any) -> FormerQueues:
    return FormerQueues(Topology.from_settings(Settings(queue="q", **settings)))


def take(queues: FormerQueues, broker: Broker) -> list[Former]:
    return queues.take(broker)  # type: ignore[arg-type]


def test_one_queue_becomes_shards() -> None:
    """The live queue is unbound, and emptied with its overflow."""
    broker = Broker(q=0, q_overflow=0, q_0=1, q_1=1)
    assert [Former("q", ordered=False), Former("q.overflow", ordered=False, expired=True)] == take(
        former(shards=2), broker
    )
    assert ["q from celeryev by #"] == broker.unbound


def test_fewer_shards() -> None:
    """Those past the number are taken out of the hash, and no others."""
    broker = Broker("q.shards", q_0=1, q_1=1, q_2=0, q_3=0)
    assert [Former("q.2", ordered=True), Former("q.3", ordered=True)] == take(former(shards=2), broker)
    expected = ["q.2 from celeryev by #", "q.2 from q.shards by 1", "q.3 from celeryev by #", "q.3 from q.shards by 1"]
    assert expected == broker.unbound


@pytest.mark.parametrize("settings", [{"shards": 1}, {"ordered": True}])
def test_no_shards_any_more(settings: dict[str, Any]) -> None:
    """The exchange that divided them is unbound first: nothing is published to nobody."""
    broker = Broker("q.shards", q_0=0, q_1=0)
    names = [each.name for each in take(former(**settings), broker)]
    assert (["q.0", "q.1"] if "shards" in settings else ["q.1"]) == names
    first = broker.unbound.index("q.shards from celeryev by #")
    assert first < min(number for number, text in enumerate(broker.unbound) if "from q.shards" in text)


def test_what_others_consume_is_left_to_them() -> None:
    """A replica with the old settings still runs: unbound, its queue would miss events that nobody else has for it."""
    broker = Broker("q.shards", q=1, q_overflow=1, q_2=1)
    with capture_logs() as said:
        assert [] == take(former(shards=2), broker)
    assert ([], []) == (broker.unbound, said)


def test_a_queue_with_parking_of_its_own_is_another_deployments() -> None:
    """Its BRIDGE_QUEUE happens to end in a number."""
    broker = Broker(q_0=0, q_0_rejected=0)
    assert [] == take(former(), broker)
    assert [] == broker.unbound


def test_they_are_looked_for_now_and_then() -> None:
    """At once on a new connection, and then seldom: RabbitMQ logs a line for each that is not there."""
    queues, broker = former(shards=2), Broker(q=0)
    found = [bool(take(queues, broker)) for _ in range(LOOKS + 1)]
    queues.begin()
    assert [True, *[False] * (LOOKS - 1), True] == found
    assert take(queues, broker)
