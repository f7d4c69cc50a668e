"""The order in which events of several partitions are sent on, and how far all is settled. Pure state."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from celery_event_bridge.contract import Event

WINDOW = 20_000
WINDOW_BYTES = 32 * 1024 * 1024


class Picked(NamedTuple):
    """An event to be sent on."""

    number: int
    """The reader's."""
    event: Event
    time: int
    """Microseconds since 1970 UTC; of one without a time that of the one before it."""


class ByTime:
    """Each partition in its own order, and of all that is waiting first the partition whose next event is the oldest.

    A stream of partitions has no order between them, and a reader fetches them in turns, a good many at a time. So
    some wait here until as many are in hand that the others have probably caught up.
    """

    def __init__(self, window: int = WINDOW, window_bytes: int = WINDOW_BYTES) -> None:
        self._window = window
        self._window_bytes = window_bytes
        self._partitions: dict[Hashable, deque[Picked]] = {}
        self._heads: list[tuple[int, int, Hashable]] = []
        """Time and number of the next event of each partition that has one. No two numbers are the same."""
        self._last: dict[Hashable, int] = {}
        self._count = self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def enough(self) -> bool:
        """Return whether one may be taken out while more is to come."""
        return self._count > self._window or self._bytes > self._window_bytes

    def add(self, number: int, partition: Hashable, event: Event, time: int | None) -> None:
        """Take in one more of a partition."""
        at = self._last.get(partition, 0) if time is None else time
        self._last[partition] = at
        waiting = self._partitions.setdefault(partition, deque())
        waiting.append(Picked(number, event, at))
        if len(waiting) == 1:
            heapq.heappush(self._heads, (at, number, partition))
        self._count += 1
        self._bytes += len(event.data)

    def next(self) -> Picked:
        """Take out the next one; there has to be one."""
        _, _, partition = heapq.heappop(self._heads)
        waiting = self._partitions[partition]
        picked = waiting.popleft()
        if waiting:
            heapq.heappush(self._heads, (waiting[0].time, waiting[0].number, partition))
        else:
            del self._partitions[partition]
        self._count -= 1
        self._bytes -= len(picked.event.data)
        return picked


class Settled:
    """Numbers in the order in which they were read, and how far they are settled without a gap."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self.until = -1
        """This one and all before it are settled; -1: none."""

    def enter(self, number: int) -> None:
        """Take in the next event that was read."""
        self._open.append(number)

    def settle(self, number: int) -> None:
        """Settle it: nothing more will be done about it."""
        self._done.add(number)
        while self._open and self._open[0] in self._done:
            self.until = self._open.popleft()
            self._done.discard(self.until)
