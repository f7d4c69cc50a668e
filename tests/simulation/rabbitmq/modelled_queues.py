"""Queues of the model of RabbitMQ: order, time to live, dead letters at least once, bounds, and whose turn it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.simulation.messages import Published

if TYPE_CHECKING:
    from tests.simulation.rabbitmq.modelled_rabbitmq import Channel, RabbitMQ

TTL = 5.0
"""Seconds after which a message leaves the live queue for overflow."""
RETRY_DEAD_LETTERS = 180.0
"""Seconds after which RabbitMQ tries a dead-letter route again that failed."""


class Entry:
    """A message in a queue."""

    __slots__ = ("arrived", "delivered", "expired", "message", "properties", "queue", "returned")

    def __init__(
        self, queue: Queue, message: Published, arrived: float, *, expired: bool, properties: bytes | None = None
    ) -> None:
        self.queue = queue
        self.properties = properties
        """Properties as they were published on the wire, by a bridge or an operator; None where a worker did."""
        self.message = message
        self.arrived = arrived
        self.expired = expired
        """True if it came by its dead-letter route."""
        self.delivered = 0.0
        """Time when it was delivered last."""
        self.returned = False
        """True if it was delivered before."""


class Queue:
    """A quorum queue."""

    def __init__(self, rabbit: RabbitMQ, name: str, max_bytes: int, ttl: float | None, *, rejects: bool) -> None:
        self.rabbit = rabbit
        self.name = name
        self.ttl = ttl
        self.max_bytes = max_bytes
        self.rejects = rejects
        """True where a full queue refuses what is published; else it drops its oldest."""
        self.ready: deque[Entry] = deque()
        self.returned: deque[Entry] = deque()
        """Delivered before, and to be delivered before the others, in the order in which they came back."""
        self.in_limbo: list[Entry] = []
        """Expired, and waiting for their dead-letter route."""
        self.size = 0
        """Bytes of what is ready: what consumers have in hand does not count against the bound."""
        self.consumers: list[Channel] = []
        self.there = True
        """False once somebody has deleted it."""
        self._turn = 0
        self._looked = False

    def __len__(self) -> int:
        return len(self.ready) + len(self.returned)

    def full(self, size: int) -> bool:
        """Return whether it takes no message of that size."""
        return self.rejects and self.size + size > self.max_bytes

    def add(self, message: Published, *, expired: bool = False, properties: bytes | None = None) -> None:
        """Take a message at its end, and drop the oldest past its bound."""
        self.rabbit.entered(message)
        entry = Entry(self, message, self.rabbit.world.now, expired=expired, properties=properties)
        self.ready.append(entry)
        self.size += len(message.body)
        self._drop()
        self._look_later()
        self.pump()

    def _drop(self) -> None:
        """Drop the oldest past the bound."""
        while not self.rejects and self.size > self.max_bytes and len(self):
            self._gone((self.returned or self.ready).popleft(), "dropped")

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Take back what was delivered. What has outlived its time leaves at once."""
        if not self.there:
            return
        for entry in entries:
            entry.returned = True
            self.returned.append(entry)
            self.size += len(entry.message.body)
        self._drop()
        self.expire()
        self.pump()

    def take(self, entry: Entry) -> None:
        """Remove a message that was acknowledged."""
        if self.there:
            self.rabbit.removed(entry.message, self.name, "acknowledged")

    def delete(self, in_hand: Iterable[Entry] = ()) -> None:
        """Take it away with all that it holds, and what of it was delivered and not acknowledged."""
        self.there = False
        for entry in [*self.returned, *self.ready, *self.in_limbo, *in_hand]:
            self.rabbit.removed(entry.message, self.name, "deleted")
        self.returned.clear()
        self.ready.clear()
        self.in_limbo.clear()
        self.consumers.clear()
        self.size = 0

    def _gone(self, entry: Entry, how: str) -> None:
        """Remove one that was ready."""
        self.size -= len(entry.message.body)
        self.rabbit.removed(entry.message, self.name, how)

    def expire(self) -> None:
        """Let those at the head that have outlived their time go to their dead-letter route."""
        self._looked = False
        if self.ttl is None or self.rabbit.stalled or not self.there:
            return
        before = self.rabbit.world.now - self.ttl
        for queue in (self.returned, self.ready):
            while queue and queue[0].arrived <= before:
                self._dead_letter(queue.popleft())
        self._look_later()

    def _look_later(self) -> None:
        if self.ttl is None or self._looked or not len(self):
            return
        self._looked = True
        oldest = min(queue[0].arrived for queue in (self.returned, self.ready) if queue)
        self.rabbit.world.after(max(0.01, oldest + self.ttl - self.rabbit.world.now), self.expire)

    def _dead_letter(self, entry: Entry) -> None:
        """Send it to overflow, and forget it once it is there: at least once."""
        overflow = self.rabbit.target(self)
        if overflow is None or self.rabbit.route_broken:
            self.in_limbo.append(entry)
            self.size -= len(entry.message.body)
            self.rabbit.world.after(RETRY_DEAD_LETTERS, self._retry, entry)
            return
        overflow.add(entry.message, expired=True, properties=entry.properties)
        # A confirm that is lost makes it come a second time.
        if self.rabbit.doubles:
            self.rabbit.doubles -= 1
            overflow.add(entry.message, expired=True, properties=entry.properties)
        self._gone(entry, "dead-lettered")

    def _retry(self, entry: Entry) -> None:
        if entry in self.in_limbo:
            self.in_limbo.remove(entry)
            self.size += len(entry.message.body)
            self._dead_letter(entry)

    def get(self) -> Entry | None:
        """Hand out one that is asked for."""
        if self.rabbit.stalled or not len(self):
            return None
        entry = (self.returned or self.ready).popleft()
        self.size -= len(entry.message.body)
        return entry

    def turn(self) -> Channel | None:
        """Return whose turn it is: of those that have room, the next."""
        room = [one for one in self.consumers if one.consuming and one.outstanding < one.prefetch]
        if not room:
            return None
        self._turn += 1
        return room[self._turn % len(room)]

    def pump(self) -> None:
        """Deliver what is ready to consumers that have room, in turn."""
        if self.rabbit.stalled:
            return
        batches: dict[Channel, list[Entry]] = {}
        while len(self):
            if (channel := self.turn()) is None:
                break
            entry = (self.returned or self.ready).popleft()
            self.size -= len(entry.message.body)
            entry.delivered = self.rabbit.world.now
            channel.tag += 1
            channel.outstanding += 1
            channel.unacknowledged[channel.tag] = entry
            batches.setdefault(channel, []).append(entry)
        for channel, entries in batches.items():
            channel.deliver(entries)
