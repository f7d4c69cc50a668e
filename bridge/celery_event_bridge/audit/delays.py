"""Delays until events were stored: a distribution in a few kilobytes, however many there are. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9)
FINENESS = 50
"""Steps in which a delay is told from one e times as long: each is 2 % wide."""
SHORTEST = 100
"""Microseconds; what is shorter counts as this."""


class Delays:
    """Counts by steps of 2 %."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self.count = 0
        self.ahead = 0
        """Events from after they were stored: their sender's clock is ahead."""
        self.longest = 0
        """Microseconds."""
        self.total = 0
        """Microseconds of all together."""

    def add(self, microseconds: int) -> None:
        """Take in the delay of an event."""
        self.count += 1
        if microseconds < 0:
            self.ahead += 1
        self.longest = max(self.longest, microseconds)
        self.total += max(0, microseconds)
        step = round(math.log(max(microseconds, SHORTEST)) * FINENESS)
        self._steps[step] = self._steps.get(step, 0) + 1

    def percentile(self, percent: float) -> float:
        """Return the seconds that so many per cent of the events did not exceed; 0 if there is none."""
        wanted, below = self.count * percent / 100, 0
        for seconds, count in self.steps():
            below += count
            if below >= wanted:
                return min(seconds, self.longest / 1e6) if self.longest > SHORTEST else 0.0
        return 0.0

    def steps(self) -> Iterator[tuple[float, int]]:
        """Yield seconds and events, in order."""
        for step in sorted(self._steps):
            yield math.exp(step / FINENESS) / 1e6, self._steps[step]
