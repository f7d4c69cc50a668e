"""Budget of memory for what is in hand: one model of what a message takes, and of what to do about it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from celery_event_bridge.contract.event import Event

EVENT_MEMORY = 700
"""Bytes that one event takes in hand beside its data."""


class Room(enum.Enum):
    """Answer of a budget."""

    TAKE = "take"
    """Receive: half of the budget is free again."""
    KEEP = "keep"
    """Go on as before, receiving or not: between the two bounds nothing changes, or it would change all the time."""
    PAUSE = "pause"
    """Receive nothing more."""
    GIVE_BACK = "give back"
    """Let all that is not acknowledged go back: what was on its way already has come on top."""


class Budget:
    """Bytes that may be in hand, `BRIDGE_MAX_INFLIGHT_BYTES`."""

    def __init__(self, max_bytes: int, max_message_bytes: int) -> None:
        """Begin; a message of up to `max_message_bytes` is admitted alone, however small the budget is."""
        self.max_bytes = max_bytes
        self._max_message_bytes = max_message_bytes

    def room(self, held: int, largest: Callable[[], int]) -> Room:
        """Decide by the bytes that are in hand, and those of the largest message among them.

        A single message is admitted whatever its size: given back it would only come again.
        """
        twice = 2 * self.max_bytes
        if held >= twice and held > 2 * self._max_message_bytes and held - largest() >= twice:
            return Room.GIVE_BACK
        if held >= self.max_bytes:
            return Room.PAUSE
        return Room.TAKE if held < self.max_bytes // 2 else Room.KEEP

    def pauses(self, held: int, largest: Callable[[], int], *, paused: bool) -> bool:
        """Tell whether an end that gives nothing back receives nothing more, given whether it does now."""
        room = self.room(held, largest)
        return paused if room is Room.KEEP else room is not Room.TAKE


def footprint(body: bytes, events: Sequence[Event]) -> int:
    """Return the bytes of memory that a message's body and its events take in hand, about."""
    if len(events) == 1 and events[0].data is body:
        return len(body) + EVENT_MEMORY
    # One without events, an empty one too, is something in hand all the same.
    return len(body) + EVENT_MEMORY * max(1, len(events)) + sum([len(event.data) for event in events])
