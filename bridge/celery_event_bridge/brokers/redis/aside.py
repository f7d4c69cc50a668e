"""Events that whoever forwards has never heard, and this replica has: they are published again, for it and all others.

They go to the channel of what was parked and is sent again, which no monitor hears. So nobody forwards without the
lease, and each replica holds them like any other event until they are confirmed. Several may have the same ones: one
publishes at a time, by turns that all hear in one order, and what is heard again is nobody's to publish any more.
"""

from __future__ import annotations

import hashlib
from itertools import islice

from celery_event_bridge.brokers.envelope import Heard, opened, sealed

ENTRY_MEMORY = 120
"""Bytes that an event which waits takes beside its data: a bytes object in a container."""
AT_ONCE = 100
"""Events that are published before they are heard again."""
AT_ONCE_BYTES = 16 * 1024
"""Bytes, likewise: few beside what the server lets a subscriber leave unread."""
TRIES = 3
"""Times that an event is published again: one too large for the server's buffers would cut off everybody each time."""
REMEMBERED = 10_000
"""Events whose tries are remembered."""
TURN = 2.0
"""Seconds without a word after which the turn is another one's."""


class Aside:
    """Events by their bodies, as one that was handed out and came back is not the same to the byte."""

    def __init__(self) -> None:
        self.events: dict[bytes, bytes] = {}
        self.bytes = 0
        self.dropped = 0
        """Events for which there was no room, or that came to nobody, and that nobody has been told of."""
        self._tries: dict[bytes, int] = {}

    def add(self, event: bytes | Heard) -> None:
        """Set an event aside."""
        if isinstance(event, Heard):
            body = event.body
            payload = body if event.raw else sealed(body, event.content_type, event.headers, "", event.routing_key)
        else:
            payload, body = event, opened(event, None, 0).body
        if body not in self.events:
            self.events[body] = payload
            self.bytes += len(payload) + ENTRY_MEMORY

    def heard_again(self, payload: bytes) -> None:
        """Let go of an event: it is on its way like any other now."""
        if self.events:
            self._pop(opened(payload, None, 0).body)

    def drop_oldest(self) -> None:
        """Drop one, for want of room."""
        self._drop(next(iter(self.events)))

    def tell(self) -> int:
        """Return how many were dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _drop(self, body: bytes) -> None:
        self._pop(body)
        self.dropped += 1

    def _pop(self, body: bytes) -> None:
        payload = self.events.pop(body, None)
        if payload is not None:
            self.bytes -= len(payload) + ENTRY_MEMORY

    def first(self) -> list[bytes]:
        """Return the first ones, as many as are published at once; drop those that were published often enough."""
        chosen: list[bytes] = []
        size = 0
        for body, payload in [*islice(self.events.items(), AT_ONCE)]:
            size += len(payload)
            if chosen and size > AT_ONCE_BYTES:
                break
            if self._is_tried_out(body):
                self._drop(body)
            else:
                chosen.append(payload)
        return chosen

    def _is_tried_out(self, body: bytes) -> bool:
        name = hashlib.blake2b(body, digest_size=16).digest()
        tries = self._tries[name] = self._tries.pop(name, 0) + 1
        if len(self._tries) > REMEMBERED:
            del self._tries[next(iter(self._tries))]
        return tries > TRIES


class Turn:
    """Name of the one whose turn it is to publish. Each mark says how many events its sender has set aside."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._holder = ""
        self._until = 0.0

    def is_free(self, now: float) -> bool:
        """Return whether nobody has it."""
        return not self._holder or now >= self._until

    def heard(self, owner: str, aside: int, now: float) -> bool:
        """Take in a mark; return whether it is ours, and our turn."""
        if owner == self._holder or self.is_free(now):
            if aside:
                self._holder, self._until = owner, now + TURN
            elif owner == self._holder:
                self._holder = ""
        return owner == self._owner == self._holder
