"""Names of the streams that an event goes into: by its group, and by its key where there are shards."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from celery_event_bridge.contract import Event

GROUPS = ("task", "worker", "other")


class StreamNames:
    """The streams that `BRIDGE_REDIS_STREAM` and `BRIDGE_REDIS_SHARDS` mean."""

    def __init__(self, stream: str, shards: int) -> None:
        self._shards = shards
        self._by_group = {group: stream.replace("{group}", group).encode() for group in GROUPS}
        names = list(dict.fromkeys(self._by_group.values()))
        self.all: Sequence[bytes] = (
            names if shards == 1 else [b"%b:{%d}" % (name, shard) for name in names for shard in range(shards)]
        )

    def of(self, events: Sequence[Event]) -> list[bytes]:
        """Return the stream of each event, in order."""
        if len(self.all) == 1:
            return [self.all[0]] * len(events)
        return [self._of(event) for event in events]

    def _of(self, event: Event) -> bytes:
        name = self._by_group.get(event.type.partition("-")[0], self._by_group["other"])
        if self._shards == 1:
            return name
        return b"%b:{%d}" % (name, zlib.crc32(event.key.encode()) % self._shards)
