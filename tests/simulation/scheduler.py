"""Virtual clock and scheduler: calls in the order of their times, and of their making where the times are the same."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.line import Accept
    from tests.simulation.process import Process

EPOCH = 1_700_000_000.0
"""Wall-clock time, in seconds since 1970, at which every world begins."""


class World:
    """One run: its time in seconds, its random numbers, its trace. Nothing in it reads a real clock."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 0.0
        self.trace = Trace()
        self.hub: greenlet = getcurrent()
        """Greenlet that runs the scheduler: a process that waits switches to it."""
        self.current: Process | None = None
        """Process that runs now; None while the scheduler, or a model, does."""
        self.servers: dict[int, Accept] = {}
        """Models that listen, by port."""
        self.unreachable: dict[str, float] = {}
        """Until when no connection can be made, by the name of who tries."""
        self.calls = 0
        self._processes = 1000
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Let `call` be made so many seconds from now."""
        self.at(self.now + seconds, call, *arguments)

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Let `call` be made at that time, after all that are to be made then: a difference added again may be less."""
        self._number += 1
        heapq.heappush(self._heap, (time, self._number, call, arguments))

    def run(self, until: float) -> None:
        """Make all calls that are due up to that time."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(heap)
            self.calls += 1
            call(*arguments)
        self.now = until

    def next_process(self) -> int:
        """Return a process id."""
        self._processes += 1
        return self._processes

    def say(self, who: str, what: str, *details: object) -> None:
        """Write a line of the trace."""
        self.trace.add(self.now, who, what, details)

    def chance(self, probability: float) -> bool:
        """Draw; True in that part of all draws."""
        return self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        """Draw a number of seconds, small ones as often as large ones on a scale of logarithms."""
        return float(least * (most / least) ** self.random.random())
