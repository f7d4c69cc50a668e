"""Queues of the settings as the command `queues` handles them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq import management
from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.migration import migrate
from celery_event_bridge.brokers.rabbitmq.operations import Broker, connected
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.brokers.rabbitmq.witnesses import missing_queues

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.contract import Finding
    from celery_event_bridge.contract.broker_plugin import QueueState


class OperatedQueues:
    """See the protocol `celery_event_bridge.contract.broker_plugin.Queues`."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._topology = Topology.from_settings(settings)

    def declare(self) -> Sequence[str]:
        """Declare the exchange and the queues and bind them."""
        topology = self._topology
        with translated("looking at the queues"):
            _, deleted = missing_queues(Questions(self._broker.connection), topology)
        self._broker.declare(topology)
        anew = " anew: it was there before and was deleted, and what it held is gone"
        lines = [f"queue {queue.name}: declared{anew if queue.name in deleted else ''}" for queue in topology.queues]
        return [
            *([topology.doubt] if topology.doubt else []),
            *lines,
            f"exchange {topology.exchange}: bound to {topology.name}",
        ]

    def states(self) -> Sequence[QueueState]:
        """Return each queue as it is."""
        return list(self._broker.states(self._topology))

    def policies(self) -> Sequence[Finding]:
        """Return what a policy makes a queue lose, where the management API can be asked."""
        found = management.findings(self._settings, self._topology)
        return [finding for finding in found if finding.verdict != "ok"]

    def unseen(self) -> str:
        """Say that policies are not seen over AMQP alone."""
        return "" if self._settings.management_url else "policies are not seen: BRIDGE_MANAGEMENT_URL is unset"

    def migrate(self, old: str, wait: float, tell: Callable[[str], None]) -> None:
        """Move what the queues called `old` hold into these, under load. Raises ValueError where they are these."""
        if old == self._topology.name:
            raise ValueError("BRIDGE_QUEUE has to name another queue, the new one")
        # Of whatever type it is: that of the most that can be held back.
        was = {"queue": old, "queue_ttl": 5.0, "queue_type": "quorum"}
        before = Topology.from_settings(self._settings.model_copy(update=was))
        migrate(self._broker, before, self._topology, wait, tell)

    def remove(self, tell: Callable[[str], None], *, force: bool) -> Sequence[str]:
        """Delete the queues: live first, so that nothing comes in any more."""
        return self._broker.remove(self._topology, tell, force=force)


@contextmanager
def operating(settings: Settings) -> Iterator[OperatedQueues]:
    """Connect to the first broker that answers. Raises BrokerUnavailable."""
    with connected(settings) as broker:
        yield OperatedQueues(broker, settings)
