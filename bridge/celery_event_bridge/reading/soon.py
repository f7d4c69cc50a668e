"""Commits that wait for others: one for many events costs a fraction of one for each."""

from __future__ import annotations

import time
from collections.abc import Callable


class Soon:
    """The last event that is handled and not committed, by its number. Pure, but for the clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.pending: int | None = None
        """Number of that event; None where nothing waits."""
        self._count = 0
        self._since = 0.0

    def is_due(self, number: int, every: int, seconds: float) -> bool:
        """Add an event; return whether it is time to commit: so many wait, or the first one has waited so long."""
        if self.pending is None:
            self._count, self._since = 0, self._clock()
        self.pending = number if self.pending is None else max(self.pending, number)
        self._count += 1
        return self._count >= every or self._clock() - self._since >= seconds

    def take(self) -> int | None:
        """Return what waits, which is to be committed now."""
        pending, self.pending = self.pending, None
        return pending
