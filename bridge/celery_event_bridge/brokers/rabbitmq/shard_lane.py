"""Lane of a shard, a queue with a single active consumer, which hands out in order for as long as nobody cancels.

Cancelled with messages in hand, RabbitMQ would give the next ones to the next consumer at once, who stores them before
us. Closed, it puts all of ours back at the head first: whoever is next begins with what we had, and an event that both
store is in the stream in its place the first time. So a shard's lane is closed, and never cancelled. It is seldom
closed with messages in hand, which come twice then: to hand a shard over, it takes no more and waits for what it has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.lane import Lane
from celery_event_bridge.contract.budget import Room

SHARD_PREFETCH = 256
"""Messages that each consumer of a shard may have in hand, whatever the settings. RabbitMQ puts what goes back behind
what went back before: one with fewer, which had got only a part of that, would put its own behind the rest."""
RECENT = 5.0
"""Seconds after its last delivery for which a lane counts as the active one of its queue."""


class ShardLane(Lane):
    """A lane that stands by, or is the one that gets what the queue has."""

    priority = 0
    """Consumers of a higher one go first, from RabbitMQ 4.0 on."""
    _taken = 0
    """Tag of the last message that was taken in hand."""
    _acknowledged = 0
    """Tag up to which all is acknowledged."""
    _received_at = _acknowledged_at = float("-inf")
    _leaving_since: float | None = None

    def __init__(self, *given: Any, **options: Any) -> None:
        """See `Lane`."""
        super().__init__(*given, **options)
        self._singly: set[int] = set()
        """Tags past that one that are acknowledged, or given back."""

    @property
    def prefetch(self) -> int:
        """Messages that it may have in hand."""
        return SHARD_PREFETCH

    def consume(self, arguments: Mapping[str, Any] | None = None) -> None:
        """Stand in line."""
        super().consume({"x-priority": self.priority} | dict(arguments or {}))

    def finish(self) -> None:
        """Take no more: what arrives goes back as the channel closes. What was acknowledged has arrived then."""
        self.leave()
        # Asked for what it has, for the answer: to wait for the broker is what a cancel would do beside.
        self._channel.basic_qos(0, self.prefetch, False)  # noqa: FBT003 - AMQP's own positional flag

    def adjust(self, room: Room) -> None:
        """Change nothing: where the budget is used up, it leaves."""

    def observe(self, messages: Sequence[Delivered]) -> None:
        """Take note of those that have arrived on it."""
        own = [message for message in messages if message.lane is self]
        if own:
            self._taken, self._received_at = own[-1].tag, time.monotonic()
            self.window.observe([len(message.body) for message in own])

    def was_quiet(self) -> bool:
        """Tell nothing: who stands by is quiet."""
        return False

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Send one `basic.ack`."""
        super().acknowledge(tag, multiple=multiple)
        self._acknowledged_at = time.monotonic()
        if multiple:
            self._acknowledged = tag
            self._singly = {each for each in self._singly if each > tag}
        else:
            self._singly.add(tag)

    def give_back(self, tag: int) -> None:
        """Reject one with requeue."""
        super().give_back(tag)
        self._singly.add(tag)

    # Handing over -----------------------------------------------------------------------------------------------

    def progresses(self, now: float) -> bool:
        """Tell whether its queue gives to it, and what it gets is acknowledged: it would be empty soon."""
        return now - self._received_at < RECENT and now - self._acknowledged_at < RECENT

    def leave(self) -> None:
        """Take no more, so that it can be closed with nothing in hand."""
        if self._leaving_since is None:
            self.leaves, self._leaving_since = True, time.monotonic()

    def leaving_for(self, now: float) -> float | None:
        """Return for how many seconds it has taken no more; None if it takes what comes."""
        return None if self._leaving_since is None else now - self._leaving_since

    @property
    def empty(self) -> bool:
        """Tell whether nothing that it has taken is in hand any more."""
        return self._acknowledged + len(self._singly) >= self._taken
