"""Bindings of a queue that an operator has made beside ours: a migration carries them over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.management import Management
    from celery_event_bridge.brokers.rabbitmq.topology import Topology
    from celery_event_bridge.brokers.rabbitmq.waiting import Tell


class Binding(NamedTuple):
    """Binding from an exchange to a queue."""

    exchange: str
    routing_key: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"exchange {self.exchange}, routing key {self.routing_key!r}" + (
            f", {dict(self.arguments)}" if self.arguments else ""
        )


class OtherBindings:
    """Bindings of the old live queue, as the management API lists them."""

    def __init__(self, management: Management | None, old: Topology, new: Topology, tell: Tell) -> None:
        """List them. Raises BrokerUnavailable."""
        self._old, self._new = old.live.name, new.live.name
        self._tell = tell
        if management is None:
            tell(
                f"bindings of queue {self._old} other than to {old.exchange} cannot be seen without "
                "BRIDGE_MANAGEMENT_URL, and are not carried over"
            )
        ours = [Binding(old.exchange, "#", {}), Binding(old.queue_witness, "", {}), Binding(old.mark, "", {})]
        listed = [] if management is None else [Binding(*each) for each in management.bindings(self._old)]
        self._others = [each for each in listed if each.exchange and each not in ours]

    def carry_over(self, channel: amqp.Channel) -> None:
        """Bind the new queue likewise. Raises what the client raises."""
        for each in self._others:
            channel.queue_bind(self._new, each.exchange, routing_key=each.routing_key, arguments=dict(each.arguments))
            self._tell(f"queue {self._new}: bound as {self._old} was to {each}")

    def unbind(self, channel: amqp.Channel) -> None:
        """Unbind the old queue. Raises what the client raises."""
        for each in self._others:
            channel.queue_unbind(self._old, each.exchange, routing_key=each.routing_key, arguments=dict(each.arguments))
