"""Events that wait to be written, and the batches in which they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from celery_event_bridge.contract import Event
from celery_event_sinks.redis.suspects import Suspects

BATCH_EVENTS, BATCH_BYTES = 1000, 1024 * 1024
"""Written at a time at most; one larger event goes alone."""
ON_THE_WAY = 8000
"""Events written and not answered, at most about."""
FEW = 64
FEW_WAIT = 0.001
"""Seconds to wait for the replies to so few events, when nothing else is on its way: Redis needs less time for them
than the loop for another turn."""


class Waiting:
    """Events that wait, in the order in which they came."""

    def __init__(self, suspects: Suspects) -> None:
        self._events: deque[Event] = deque()
        self._suspects = suspects

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, events: Sequence[Event]) -> None:
        """Behind the others."""
        self._events.extend(events)

    def put_back(self, events: Sequence[Event]) -> None:
        """Before the others."""
        self._events.extendleft(reversed(events))

    def take_all(self) -> list[Event]:
        """Take all; none waits then."""
        events = list(self._events)
        self._events.clear()
        return events

    def take(self) -> list[Event]:
        """Take the next batch."""
        events, batch, size = self._events, list[Event](), 0
        while events and len(batch) < BATCH_EVENTS:
            size += len(events[0].data)
            if batch and size > BATCH_BYTES:
                break
            batch.append(events.popleft())
        return batch

    def take_carefully(self, *, idle: bool) -> tuple[list[Event], Event | None]:
        """Take what is before the next suspect, or the suspect alone where nothing else is on its way (`idle`).

        Returns no event where the suspect has to wait, and the suspect as the second value where it is one.
        """
        batch = self.take()
        first = next((place for place, event in enumerate(batch) if event in self._suspects), len(batch))
        trial = None
        if first == 0 and batch and idle and self._suspects.due:
            trial, first = batch[0], 1
        self.put_back(batch[first:])
        return batch[:first], trial
