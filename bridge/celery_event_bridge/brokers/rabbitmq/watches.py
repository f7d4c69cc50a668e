"""All that one source watches at its broker, every LOOK_INTERVAL and with each connection: see decision 17.

What is remembered of a broker is remembered by its name, as BRIDGE_BROKER_URL may name several: that a queue is not at
one of them says nothing of the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.alarms import AlarmWatch
from celery_event_bridge.brokers.rabbitmq.binding_watch import BindingWatch
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.feature_flags import FlagWatch
from celery_event_bridge.brokers.rabbitmq.left_behind import LeftBehind
from celery_event_bridge.brokers.rabbitmq.nearly_full import BoundWatch
from celery_event_bridge.brokers.rabbitmq.neighbours import Neighbours
from celery_event_bridge.brokers.rabbitmq.upkeep import Upkeep
from celery_event_bridge.brokers.rabbitmq.urls import Identity, identity
from celery_event_bridge.contract import LOOK_INTERVAL

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.migration_marks import Route
    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology


class Watches:
    """All calls come from the thread that owns the connection, and raise what the client raises."""

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        location: Callable[[], str] | None,
        parked_body: Callable[[], float],
        left: LeftBehind,
        interval: float = LOOK_INTERVAL,
    ) -> None:
        """See `AmqpSource`."""
        self._interval = interval
        self._settings = settings
        self._topology = topology
        self._parked_body = parked_body
        self._binding = BindingWatch(settings, topology)
        self._upkeeps: dict[Identity, Upkeep] = {}
        self._home: Identity | None = None
        """Broker of the first URL, which is the one that BRIDGE_MANAGEMENT_URL tells of."""
        self.upkeep = self._upkeep_at(("", ""))
        """Upkeep at the broker that the source is connected to."""
        self.neighbours = Neighbours(settings, topology, location)
        self._bounds = BoundWatch(topology)
        self._alarms = AlarmWatch(settings)
        self._flags = FlagWatch(settings)
        self._left = left
        self._due = self._began_at = 0.0

    @property
    def held_up(self) -> str | None:
        """Name what keeps events from us, as the last look has it; None where nothing does."""
        if self.upkeep.unbound:
            live, exchange = self._topology.name, self._topology.exchange
            return f"queue {live!r} is not bound to exchange {exchange!r}: no event reaches it"
        return self._left.held_up

    def open(self, connection: amqp.Connection, url: str) -> None:
        """Declare what is to be there, on a connection just made, and look at it."""
        at = identity(connection)
        if url == self._settings.broker_urls[0]:
            self._home = at
        self.upkeep = self._upkeep_at(at)
        self.upkeep.open(connection)
        self.neighbours.open(connection)
        self._alarms.open(url)
        self._flags.open(connection, url)
        self._left.open(at)

    def begin(self) -> bool:
        """Look at what is ours, if it is time to; return whether it was."""
        now = time.monotonic()
        if now < self._due or not self._binding.asked():
            return False
        self._due, self._began_at = now + self._interval, now
        self.upkeep.look()
        return True

    def finish(self, *, drains: bool, mean_live: float, mean_overflow: float) -> None:
        """Look at the rest. `drains`: whether we consume overflow; and the bytes of a body from the two queues."""
        topology, depths = self._topology, self.upkeep.depths
        overflow = topology.overflow.name if topology.overflow else None
        unusable = overflow is None or overflow in self.upkeep.differing.unusable
        self.neighbours.look(
            self._began_at, depths, self.upkeep.consumers, drains=None if unusable and not drains else drains
        )
        means = dict.fromkeys(topology.live_names, mean_live)
        means[topology.rejected.name] = self._parked_body() or mean_live
        if overflow:
            means[overflow] = mean_overflow or mean_live
        self._bounds.look(depths, means)
        self._alarms.look()
        self._flags.look()
        self._left.look()
        if any(depths.get(queue.name, 0) for queue in topology.consumed):
            self._left.busy()

    def arrived(self, messages: Sequence[Delivered]) -> None:
        """Take note that messages have arrived."""
        self.upkeep.arrived(messages)
        self._left.busy()

    def destination(self) -> str | None:
        """Return the URL of another broker to go to; None where this is the one to be at."""
        return self._left.destination()

    def drop(self) -> None:
        """Forget the connection, which is gone."""
        self.upkeep.drop()
        self._alarms.close()

    @property
    def depths(self) -> Mapping[str, int]:
        """Ready messages by queue, as last seen."""
        return self.upkeep.depths

    def _upkeep_at(self, at: Identity) -> Upkeep:
        if at not in self._upkeeps:
            find_route = partial(self._route, at)
            self._upkeeps[at] = Upkeep(self._topology, declares=self._settings.declare, find_route=find_route)
        return self._upkeeps[at]

    def _route(self, at: Identity) -> Route | None:
        route = self._binding.route()
        return route if at == self._home else None
