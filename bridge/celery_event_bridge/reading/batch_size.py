"""Size of the batches that a reader fetches: large enough to be quick, small enough to be seen alive."""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.contract import Record

FIRST, LARGEST = 100, 1000
"""Records."""
SECONDS = 1.0
"""Time that the handling of a batch may take before the next one is made smaller: a reader that is seen too rarely
counts as dead."""
BYTES = 8 * 1024 * 1024


class BatchSize:
    """Grows while records are handled quickly, and shrinks where they are not, or are large."""

    def __init__(self, within: float = SECONDS) -> None:
        self._within = within
        self.limit = FIRST
        """Records to fetch next."""

    def adapt(self, records: Sequence[Record], seconds: float) -> None:
        """Learn how long the handling of the last batch took."""
        if not records:
            return
        self.limit = min(LARGEST, self.limit * 2) if seconds < self._within else max(1, self.limit // 2)
        size = sum(len(record.data) for record in records)
        self.limit = max(1, min(self.limit, BYTES * len(records) // (size + 1)))
