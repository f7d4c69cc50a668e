"""The queues as an operator handles them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_event_bridge.brokers.rabbitmq.operations import Broker
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import BrokerUnavailable


class Away(Broker):
    """A broker whose connection is lost."""

    def ask(self, action: Callable[[Any], Any]) -> Any:
        raise BrokerUnavailable("connection reset")


def test_queues_that_cannot_be_asked_for_are_not_taken_for_queues_that_are_not_there() -> None:
    """Else `queues migrate` and `queues remove` say that nothing is left, and are done."""
    topology = Topology.from_settings(Settings(broker_url="amqp://guest:guest@localhost//"))
    with pytest.raises(BrokerUnavailable, match=r"queue celeryev\.bridge\.rejected: connection reset"):
        Away(None).present(topology)  # type: ignore[arg-type]
