"""Records that are gone from a partition, as far as one can tell: from its beginning, by somebody
(`kafka-delete-records`), or from its end, with the disk of a broker that has come back with another log.

The log's beginning moves by retention as well. What a retention cannot have removed yet is known all the same: a record
gets a timestamp that the topic keeps for some time still (see `times`), so that one which was written less than that
ago is too young, whatever its event's time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from celery_event_bridge.contract import notices
from celery_event_sinks.kafka.advice import RETENTION_BYTES
from celery_event_sinks.kafka.times import FOR_EVER, RETENTION, SPARE, number, removes

Partition = tuple[str, int]
Configs = Mapping[str, Mapping[str, str] | None]
"""The properties of each topic; None where we may not ask."""
LOOKS = 64
"""Ends of each partition that are remembered; past it every other one of them."""


class Bounds:
    """Beginning and end of each partition, look by look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: dict[Partition, int] = {}
        self._ends: dict[Partition, deque[tuple[float, int]]] = {}
        """Times at which the log ended, and offsets."""
        self._last: dict[Partition, int] = {}
        """End of each at the last look."""

    def forget(self, topic: str) -> None:
        """Forget a topic that is another one now."""
        for one in [one for one in self._first if one[0] == topic]:
            del self._first[one], self._ends[one], self._last[one]

    def knows(self, partition: Partition) -> bool:
        """Return whether its end was seen before."""
        return partition in self._last

    def look(self, bounds: Mapping[Partition, tuple[int, int]], configs: Configs) -> None:
        """Compare; tell of the records that no retention can have removed."""
        now = self._clock()
        gone: dict[str, int] = {}
        for one, (first, last) in bounds.items():
            self._tell_of_a_lost_end(one, last)
            before, ends = self._first.get(one), self._ends.setdefault(one, deque())
            if before is not None and first > before:
                oldest = _too_young_from(ends, now, configs.get(one[0]))
                if oldest is not None and first > (since := max(before, oldest)):
                    gone[one[0]] = gone.get(one[0], 0) + first - since
            # A replica that has become the leader may begin earlier for a moment.
            self._first[one] = max(first, before or 0)
            ends.append((now, last))
            if len(ends) > LOOKS:
                self._ends[one] = deque([*[*ends][:-1:2], ends[-1]])
            self._last[one] = last
        for topic, count in gone.items():
            notices.tell(
                "stream-shrunk",
                f"topic {topic!r}: at least {count} records at its beginning that no retention can have removed yet "
                "are gone: deleted by somebody (kafka-delete-records)",
                subject=f"kafka removed {topic}",
                count=count,
            )

    def _tell_of_a_lost_end(self, partition: Partition, last: int) -> None:
        """Compare the end, which a leader says only once it knows it: it never goes back otherwise."""
        before = self._last.get(partition)
        if before is None or last >= before:
            return
        topic, number = partition
        notices.tell(
            "stream-shrunk",
            f"topic {topic!r} partition {number} ends at {last}, and has ended at {before}: at least {before - last} "
            "records at its end are gone, which were confirmed; a broker has come back without its log, or one that "
            "lagged behind was made the leader (unclean.leader.election.enable)",
            subject=f"kafka end {topic} {number}",
            count=before - last,
        )
        del self._first[partition], self._ends[partition]


def _too_young_from(ends: deque[tuple[float, int]], now: float, config: Mapping[str, str] | None) -> int | None:
    """Return the offset from which on records are too young for the topic's retention; None where nobody can tell."""
    if config is None:
        return None
    if not removes(config):
        return 0
    if number(config, RETENTION_BYTES) < FOR_EVER:
        return None
    kept = number(config, RETENTION)
    if kept == FOR_EVER:
        return 0
    young = [end for at, end in ends if (now - at) * 1000 < min(kept // 2, SPARE)]
    return young[0] if young else None
