"""Places in the stream of what was fetched and is not committed yet, without the events. Pure state."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from celery_event_bridge.contract import Record


class Owed:
    """Places by the number of their record. It grows until they are committed, by about 100 bytes a record."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, list[Hashable], list[Any]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, first: int, records: Sequence[Record]) -> None:
        """Records, the first of which has this number."""
        if records:
            partitions = [record.partition for record in records]
            self._batches.append((first, partitions, [record.position for record in records]))

    def until(self, number: int) -> Mapping[Hashable, Sequence[Any]]:
        """Return the places up to this number, by partition and in order."""
        found: dict[Hashable, list[Any]] = {}
        for first, partitions, positions in self._batches:
            if first > number:
                break
            count = number - first + 1
            for partition, position in zip(partitions[:count], positions[:count], strict=True):
                found.setdefault(partition, []).append(position)
        return found

    def forget(self, number: int) -> None:
        """Forget all up to this number: it is committed."""
        while self._batches and self._batches[0][0] <= number:
            first, partitions, positions = self._batches.popleft()
            count = number - first + 1
            if count < len(partitions):
                self._batches.appendleft((number + 1, partitions[count:], positions[count:]))
