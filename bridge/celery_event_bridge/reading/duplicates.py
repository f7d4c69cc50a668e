"""Memory of the ids that came before: the last so many of each partition. Pure state.

A record is a duplicate only of one *before* it in the same partition. The first of several is thus handed over by
whoever reads it, whatever else is in the window, so that dropping the others loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from celery_event_bridge.contract import Record


class SeenIds:
    """The last `size` ids of each partition, at 200 to 350 bytes an id; 0 keeps none. Copies share a partition."""

    def __init__(self, size: int, among: Callable[[str | None], bool] | None = None) -> None:
        self._size = size
        self.among = among
        """Test of a broker's name: only records of these brokers are registered, so that who reads those of one gets an
        event that another broker had too, and that was stored from there first. None: all are."""
        self._windows: dict[Hashable, tuple[dict[str, Any], deque[str]]] = {}
        """By partition: where each id was first seen, and the ids from the oldest on."""

    def register(self, record: Record) -> bool:
        """Register a record; return whether its id was registered at an earlier position of the partition."""
        if self._size <= 0 or (self.among is not None and not self.among(record.broker)):
            return False
        partition, event_id, position = record.partition, record.id, record.position
        window = self._windows.get(partition)
        if window is None:
            window = self._windows[partition] = ({}, deque())
        places, order = window
        first = places.get(event_id)
        if first is None:
            # One goes for one that comes, so that memory stays the same once the window is full.
            if len(order) == self._size:
                del places[order.popleft()]
            order.append(event_id)
        elif first < position:
            return True
        # The earlier place of the two: whatever comes between them is measured by it.
        places[event_id] = position
        return False

    def forget(self, partition: Hashable) -> None:
        """Drop it: it is read by somebody else from now on."""
        self._windows.pop(partition, None)
