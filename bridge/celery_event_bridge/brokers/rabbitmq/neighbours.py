"""Looks at whoever else uses our queues on the broker, and at what they do to them; told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.binding_watch import policy_watch
from celery_event_bridge.brokers.rabbitmq.mark import SinkMark
from celery_event_bridge.brokers.rabbitmq.presence import Presence
from celery_event_bridge.brokers.rabbitmq.purged import PurgeWatch, Trace
from celery_event_bridge.contract import SinkUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology


class Neighbours:
    """The part of one bridge, renewed with each connection. Its calls raise what the client raises."""

    def __init__(self, settings: Settings, topology: Topology, location: Callable[[], str] | None) -> None:
        """`location` says where the events are stored, for the mark that other deployments see; None: no mark."""
        declares, live, overflow = settings.declare, topology.name, topology.overflow
        self._live, self._overflow = topology.live.name, overflow.name if overflow else None
        self._mark = SinkMark(live, location, settings.event_types) if location and declares else None
        self._presence = Presence(live) if declares else None
        self._purges = PurgeWatch(live, overflow.name) if overflow and declares else None
        self._trace = Trace(live)
        self._policies = policy_watch(settings, topology)
        self._connection: amqp.Connection | None = None

    def open(self, connection: amqp.Connection) -> None:
        """Begin on a connection just made, before anything is consumed."""
        self._connection = connection
        self._trace.forget()
        if self._mark:
            self._mark.open(connection)
        if self._presence:
            self._presence.open(connection)
        if self._purges:
            self._purges.forget()

    def drains(self) -> None:
        """Let the others know that overflow is consumed from now on."""
        if self._purges and self._connection is not None:
            self._trace.leave(self._connection)

    def look(self, at: float, depths: Mapping[str, int], consumers: Mapping[str, int], *, drains: bool | None) -> None:
        """See to them. `at`: when the look at the depths began; `drains`: whether we consume overflow, None: never."""
        if self._presence:
            # Consumers are not known of a queue that is another connection's alone.
            self._presence.look(consumers.get(self._live, 0))
        if drains and self._purges:
            self._purges.forget()
            self.drains()
        elif self._purges and drains is not None and self._connection is not None:
            overflow = str(self._overflow)
            self._purges.look(self._connection, at, depths.get(overflow, 0), consumers.get(overflow, 0))
        if self._policies:
            self._policies.run_if_due()
        if self._mark:
            try:
                self._mark.look()
            except SinkUnavailable:  # where it stores cannot be told now; the relay knows of the outage
                return
