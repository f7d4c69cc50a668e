"""Which ids came before: the last so many of each partition. Pure state.

A record is a duplicate only of one *before* it in the same partition. The first of several is thus handed over by
whoever reads it, whatever else is in the window, so that dropping the others loses nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from bridge.contract import Record


class SeenIds:
    """At least the last `size` ids of each partition, at most twice as many. Copies of an event share a partition."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: dict[Hashable, tuple[dict[str, Any], dict[str, Any]]] = {}
        """By partition: ids and where each was first seen, the younger ones and the older ones."""

    def is_duplicate(self, record: Record) -> bool:
        """Whether the id was at an earlier place of the partition. Takes note of it if not."""
        partition, event_id, position = record.partition, record.id, record.position
        ids = self._ids.get(partition)
        if ids is None:
            ids = self._ids[partition] = ({}, {})
        young, old = ids
        first = young.get(event_id)
        if first is None:
            first = old.get(event_id)
        if first is not None and first < position:
            return True
        # The earlier place of the two: whatever comes between them is measured by it.
        young[event_id] = position
        if len(young) >= self._size:
            self._ids[partition] = ({}, young)
        return False

    def forget(self, partition: Hashable) -> None:
        """It is read by somebody else from now on."""
        self._ids.pop(partition, None)
