"""A reader of a group that has no partition: said with the reason, since it looks like one that hangs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from celery_event_bridge.contract import notices

SAID_AFTER = 10.0
"""Seconds without a partition: a rebalance takes one away before it gives another."""
SAID_EVERY = 3600.0
"""Seconds between two lines: it may be meant so."""
LOGGER = "celery_event_bridge.reader"


class StandingBy:
    """The part of one reader."""

    def __init__(self, group: str | None, topics: Sequence[str]) -> None:
        self._group = group
        self._topics = ", ".join(map(repr, topics))
        self._since: float | None = None
        self._is_told = False

    def assigned(self, *, has_partitions: bool) -> None:
        """Take note of what the group has given."""
        if not has_partitions:
            self._since = self._since or time.monotonic()
            return
        if self._is_told:
            text = f"group {self._group!r} has given this reader partitions"
            notices.over("waiting", text, subject=self._subject, logger=LOGGER)
        self._since, self._is_told = None, False

    def look(self) -> None:
        """Tell of it once it has lasted."""
        if self._since is None or time.monotonic() - self._since < SAID_AFTER:
            return
        self._is_told = True
        notices.tell(
            "waiting",
            f"group {self._group!r} has no partition of {self._topics} for this reader, which stands by until another "
            "one goes: as many readers can share the work as there are partitions. Add some with Kafka's tools "
            "(`kafka-topics --alter --partitions`); a topic that does not exist yet gets BRIDGE_KAFKA_PARTITIONS",
            subject=self._subject,
            every=SAID_EVERY,
            logger=LOGGER,
        )

    @property
    def _subject(self) -> str:
        return f"partitions {self._group} {id(self)}"
