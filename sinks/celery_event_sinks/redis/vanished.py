"""Consumers of a group that somebody has deleted (`XGROUP DELCONSUMER`), with all that says what they had in hand.

A dead reader's entries are claimed from its consumer. Where that is deleted before, nothing says any more that they
were not handled. So each reader remembers, from one look to the next, what the others have in hand. A reader that
closes in order leaves its consumer behind, empty, and others remove it long after: one that is gone with entries in
hand was deleted by somebody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery_event_sinks.redis.scripts import RESTORE

MOST = 1000
"""Entries of each consumer that are remembered."""


class VanishedConsumers:
    """Compare one look at the consumers of a group with the last one."""

    def __init__(self, ask: Callable[..., Any], group: str, lease: int, released: Sequence[str | bytes | int]) -> None:
        """`ask` sends a command; `released` are the consumer that everybody takes from, and its idle time in ms."""
        self._ask = ask
        self._group = group
        self._lease = lease / 1000
        self._released = tuple(released)
        self._seen: dict[bytes, tuple[float, dict[bytes, Sequence[bytes]]]] = {}
        """By stream: when it was looked at, and entries by consumer."""

    def forget(self, stream: bytes) -> None:
        """Take note that the group was made anew."""
        self._seen.pop(stream, None)

    def look(self, stream: bytes, consumers: Sequence[Mapping[bytes, Any]], own: bytes) -> int:
        """Release what those had in hand that are gone, and that nobody else holds.

        Returns how many entries that were. Raises what `ask` raises.
        """
        at, seen = self._seen.pop(stream, (0.0, {}))
        there = {one[b"name"] for one in consumers}
        released = 0
        # After a long time they may have been claimed, handled, and their consumer removed.
        if time.monotonic() - at < 2 * self._lease:
            for name, entries in seen.items():
                if name not in there:
                    released += self._ask("EVAL", RESTORE, 1, stream, self._group, name, *self._released, *entries)
        in_hand: dict[bytes, Sequence[bytes]] = {}
        for one in consumers:
            name = one[b"name"]
            if one[b"pending"] and name not in (own, self._released[0]):
                pending = self._ask("XPENDING", stream, self._group, "-", "+", MOST, name)
                in_hand[name] = [entry[0] for entry in pending]
        self._seen[stream] = (time.monotonic(), in_hand)
        return released
