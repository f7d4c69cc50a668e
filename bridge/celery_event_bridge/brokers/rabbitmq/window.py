"""Number of messages that a lane may have in hand, so that their bytes stay within its share of the memory.

AMQP can bound a consumer by the number of messages only, and what is under way cannot be called back. So a lane
begins with a small prefetch, looks at the sizes, and consumes again with what fits.
"""

from __future__ import annotations

FIRST_PREFETCH = 64
"""Messages asked for before any size is known; 64 of 200 kB are 12.8 MB."""
OVERHEAD = 1024
"""Bytes of memory that a message in hand takes beside its body: events, ids, ledger entry."""
COPIES = 3
"""A list's body, its events' slices of it, and what a client library makes of them."""


class Window:
    """The prefetch of one lane."""

    def __init__(self, limit: int, budget: int) -> None:
        self._limit = limit
        self._budget = budget
        self._mean = 0.0
        self._seen = 0
        self.prefetch = min(limit, FIRST_PREFETCH)
        """Messages; what the lane should consume with now."""

    @property
    def mean_body(self) -> float:
        """Bytes of a message's body, lately; 0 while none has been seen."""
        return max(0.0, self._mean - OVERHEAD) / COPIES

    def observe(self, sizes: list[int]) -> None:
        """Take note of the body sizes, in bytes, of messages that have arrived."""
        if not sizes:
            return
        costs = sum(sizes) * COPIES + OVERHEAD * len(sizes)
        # The mean of about the last hundred messages.
        weight = 1.0 if not self._mean else min(1.0, len(sizes) / 100)
        self._mean += (costs / len(sizes) - self._mean) * weight
        self._seen += len(sizes)

    def retune(self) -> bool:
        """Tell whether the prefetch is off by half or more; if so it is changed and the lane must consume anew."""
        if self._seen < min(self.prefetch, FIRST_PREFETCH):
            return False
        fits = max(1, min(self._limit, int(self._budget / self._mean)))
        if self.prefetch < 2 * fits and fits < 2 * self.prefetch:
            return False
        self.prefetch = fits
        self._seen = 0
        return True

    def shrink(self) -> None:
        """More came than fits: begin again with what certainly does."""
        self.prefetch = max(1, self.prefetch // 4)
        self._seen = 0
