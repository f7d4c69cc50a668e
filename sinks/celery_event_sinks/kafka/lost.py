"""A log that has lost its end since it was read, and may have grown again: other events have the same offsets then.

The last event that a reader has had is compared with what is at its offset now. Where nothing is, though the log goes
on behind it, a compaction may have removed it, and nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from celery_event_sinks.kafka.marks import Last

Partition = tuple[str, int]
Peek = Callable[[Mapping[Partition, int]], Mapping[Partition, Last]]
"""Asks for the event at an offset, or the next one that there is. Raises SinkUnavailable."""


def lost(
    peek: Peek, read: Mapping[Partition, Last], bounds: Mapping[Partition, tuple[int, int]]
) -> Collection[Partition]:
    """Return those of these partitions whose log is another one than that of which this was read. Raises
    SinkUnavailable.
    """
    ended = {one for one, last in read.items() if last.offset >= bounds[one][1]}
    # Below the beginning a retention has removed it.
    asked = {one: last.offset for one, last in read.items() if bounds[one][0] <= last.offset < bounds[one][1]}
    found = peek(asked) if asked else {}
    return ended | {
        one for one, now in found.items() if now.offset == read[one].offset and now.event != read[one].event
    }
