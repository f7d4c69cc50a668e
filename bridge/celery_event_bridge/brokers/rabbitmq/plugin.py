"""RabbitMQ as a plug-in. Imports no client: each part is imported where it is made, since no command needs them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.brokers.rabbitmq import settings as own
from celery_event_bridge.contract.broker import Parking, Source

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.parking import AmqpParking
    from celery_event_bridge.brokers.rabbitmq.topology import Topology
    from celery_event_bridge.contract import Finding
    from celery_event_bridge.contract.broker_plugin import LiveEvents, ParkedMessages, Queues
    from celery_event_bridge.contract.target import Target


class RabbitMQ:
    """See the protocol `celery_event_bridge.contract.broker_plugin.BrokerPlugin`, and the optional ones beside it."""

    schemes: ClassVar = own.SCHEMES
    Settings: ClassVar = own.Settings

    def __init__(self, settings: own.Settings) -> None:
        self._settings = settings

    def source(self, location: Callable[[], str]) -> Source:
        """Return the consumer of the live queue and of overflow."""
        from celery_event_bridge.brokers.rabbitmq.source import AmqpSource

        return AmqpSource(self._settings, self._topology, location, self._parking.mean_body)

    def parking(self) -> Parking:
        """Return the publisher to the parking queue."""
        return self._parking

    def findings(self, location: Callable[[], str]) -> Iterator[Finding]:
        """Yield a verdict on each URL, the exchange, each queue, parking, and whether events come."""
        from celery_event_bridge.brokers.rabbitmq.checks import findings

        return findings(self._settings, location)

    def names(self) -> Mapping[str, str]:
        """Return the queue that all replicas share."""
        return {"queue": self._settings.queue}

    def shared_with(self, location: str) -> str | None:
        """Name who consumes the queue and stores elsewhere; None also where this one declares nothing."""
        from celery_event_bridge.brokers.rabbitmq.mark import who_shares

        if not self._settings.declare:
            return None
        others = who_shares(self._settings, self._settings.queue, location)
        return None if others is None else f"{others} on queue {self._settings.queue}"

    def queues(self) -> AbstractContextManager[Queues]:
        """Connect as an operator of the queues."""
        from celery_event_bridge.brokers.rabbitmq.operator_queues import operating

        return operating(self._settings)

    def parked(self) -> AbstractContextManager[ParkedMessages]:
        """Connect as an operator of the parking queue."""
        from celery_event_bridge.brokers.rabbitmq.parked import parking_queue

        return parking_queue(self._settings)

    def target(self, url: str, *, again: bool) -> Target:
        """Connect to a broker's event exchange, to publish there."""
        from celery_event_bridge.brokers.rabbitmq.target import BrokerTarget
        from celery_event_bridge.brokers.rabbitmq.target_settings import at_url

        return BrokerTarget(at_url(self._settings, url), again=again)

    def tap(self) -> LiveEvents:
        """Bind a temporary queue beside the bridge's."""
        from celery_event_bridge.brokers.rabbitmq.tap import Tap

        return Tap(self._settings)

    @cached_property
    def _topology(self) -> Topology:
        from celery_event_bridge.brokers.rabbitmq.topology import Topology

        return Topology.from_settings(self._settings)

    @cached_property
    def _parking(self) -> AmqpParking:
        from celery_event_bridge.brokers.rabbitmq.parking import AmqpParking

        return AmqpParking(self._settings, self._topology.rejected.name)
