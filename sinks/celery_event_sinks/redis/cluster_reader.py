"""Reads the streams of a Redis Cluster back: a reader a stream, each connected to whichever node serves it.

No command may name streams of two slots. So the streams are asked in turn, and again after a pause while none has
anything new.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, cast

import msgspec

from celery_event_bridge.contract import Batch, Reading, SinkUnavailable, StreamMissing
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.redis.reader import RedisReader
from celery_event_sinks.redis.settings import RedisSettings, streams
from celery_event_sinks.redis.slot_client import SlotSettings, slots_of

AT_ONCE = 0.001
"""Seconds for which Redis waits for an entry of one stream: as good as none."""
PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two times of asking all streams; twice as many each time."""


class RedisClusterReader:
    """All streams that the settings name."""

    def __init__(self, settings: RedisSettings, reading: Reading) -> None:
        slots, names = slots_of(settings.url, settings.tls_options()), streams(settings)
        own = msgspec.structs.replace(reading, read_back=max(1, reading.read_back // len(names)))
        self._readers = {name: RedisReader(SlotSettings.of(settings, slots, name), own) for name in names}
        self._absent: set[bytes] | None = None
        """Streams that were not there when it was opened, for a reader that ends."""
        self._failure: SinkUnavailable | None = None
        """Reason why a stream could not be read, after others had been."""

    @staticmethod
    def identity(settings: RedisSettings) -> Set[Hashable]:
        """Return the ids of each stream's server and of its history. Raises SinkUnavailable."""
        slots = slots_of(settings.url, settings.tls_options())
        found = set[Hashable]()
        for name in streams(settings):
            found |= RedisReader.identity(SlotSettings.of(settings, slots, name))
        return found

    def open(self) -> None:
        """Connect to the node of each stream."""
        self._failure = None
        absent, missing = set[bytes](), None
        for name, reader in self._readers.items():
            if self._absent is not None and name in self._absent:
                continue
            try:
                reader.open()
            except StreamMissing as exc:
                absent.add(name)
                missing = exc
        if missing is not None and len(absent) == len(self._readers):
            raise missing
        if self._absent is None:
            self._absent = absent

    def fetch(self, limit: int, timeout: float) -> Batch:
        """Return what any of the streams has."""
        if (failure := self._failure) is not None:
            self._failure = None
            raise failure
        deadline, pause = Deadline(timeout), PAUSE
        while True:
            batch = self._fetch(max(1, limit // len(self._readers)))
            if batch.records or batch.seen or batch.revoked or batch.skipped or deadline.passed or self.ended():
                return batch
            time.sleep(min(pause, deadline.left()))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def ended(self) -> bool:
        """Tell whether each has ended."""
        return all(reader.ended() for reader in self._there())

    def renew_lease(self) -> bool:
        """Let each node know of this consumer."""
        ours = [reader.renew_lease() for reader in self._there()]
        return all(ours)

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """Acknowledge these at the node of each."""
        ours = [
            self._readers[_stream_of(partition)].commit({partition: places}) for partition, places in positions.items()
        ]
        return all(ours)

    def missed_by_groups(self) -> Mapping[str, int]:
        """Return what each node knows, together."""
        missed: Counter[str] = Counter()
        for reader in self._there():
            missed.update(reader.missed_by_groups())
        return missed

    def close(self) -> None:
        """Close each."""
        for reader in self._readers.values():
            reader.close()

    def _there(self) -> list[RedisReader]:
        return [reader for name, reader in self._readers.items() if name not in (self._absent or ())]

    def _fetch(self, limit: int) -> Batch:
        batches = list[Batch]()
        for reader in self._there():
            if reader.ended():
                continue
            try:
                batches.append(reader.fetch(limit, AT_ONCE))
            except SinkUnavailable as exc:
                if not any(batch.records or batch.seen or batch.revoked or batch.skipped for batch in batches):
                    raise
                self._failure = exc  # what the others had is handed out first: nobody would give it again
                break
        return Batch(
            [record for batch in batches for record in batch.records],
            [record for batch in batches for record in batch.seen],
            [partition for batch in batches for partition in batch.revoked],
            sum(batch.skipped for batch in batches),
        )


def _stream_of(partition: Hashable) -> bytes:
    return cast("bytes", partition[0] if isinstance(partition, tuple) else partition)
