"""A warning before a queue of ours is full, and RabbitMQ drops its oldest messages or refuses more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from celery_event_bridge.contract import notices

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology

WARN_FROM = 0.8
"""Share of the bound."""
EVERY = 60.0
"""Seconds between two warnings."""
TYPICAL_BODY = 400.0
"""Bytes; what a replica goes by that has not seen a message yet, as after a start in the middle of an outage."""


class Bound(msgspec.Struct, frozen=True):
    """A bounded queue, and what comes of it when it is full."""

    queue: QueueSpec
    consequence: str
    remedy: str

    def warning(self, messages: int, mean_body: float) -> str:
        """Return the line to say while `messages` of `mean_body` bytes take most of it; else an empty text.

        Over AMQP a depth is a number of messages: what they weigh is the mean of those seen lately.
        """
        size = messages * (mean_body or TYPICAL_BODY)
        bound = int(self.queue.arguments["x-max-length-bytes"])
        if size < WARN_FROM * bound:
            return ""
        return (
            f"queue {self.queue.name!r} is nearly full: {messages} messages are about {100 * size / bound:.0f} % of "
            f"its bound; past it RabbitMQ {self.consequence}: {self.remedy} with a new queue: `queues migrate --help`"
        )


def bounds(topology: Topology) -> Iterator[Bound]:
    """Yield one for each queue."""
    drops = "drops the oldest messages"
    sink = "see to the sink, or raise BRIDGE_OVERFLOW_MAX_BYTES"
    for queue in topology.lives:
        yield Bound(queue, "refuses more, and what is published meanwhile is gone", sink)
    if topology.overflow:
        yield Bound(topology.overflow, drops, sink)
    parked = "see to what is parked with `rejected`, or raise BRIDGE_REJECTED_MAX_BYTES"
    yield Bound(topology.rejected, drops, parked)


class BoundWatch:
    """Looks at the depths."""

    def __init__(self, topology: Topology, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bounds = list(bounds(topology))
        self._due: dict[str, float] = {}

    def look(self, depths: Mapping[str, int], means: Mapping[str, float]) -> None:
        """Warn, once a minute, of each queue that is nearly full. `means`: bytes of a body, by queue, 0 if unknown."""
        for bound in self._bounds:
            name, now = bound.queue.name, self._clock()
            text = bound.warning(depths.get(name, 0), means.get(name, 0.0))
            if text and now >= self._due.get(name, 0.0):
                self._due[name] = now + EVERY
                notices.tell("nearly-full", text, subject=name, every=0.0)
