"""Entries that were gone before a reader, or a group of readers, came to them. Pure state.

Since version 7 Redis numbers entries: `entries-added` of a stream, `entries-read` of a group. What is neither in the
stream nor read was removed, by a trim or by hand. Without the numbers, only what was seen before can prove it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_event_sinks.redis.client import Reply
from celery_event_sinks.redis.extent import NOWHERE, Extent, Place, extent, fields_of, place


class GroupOvertaken:
    """Count for a group, by what Redis says of it and of the stream just before each read."""

    def __init__(self) -> None:
        self._deficit: dict[bytes, int] = {}
        """Entries that the group's count lacks: gone, and told of."""
        self._number: dict[bytes, int] = {}
        """Entries up to the group's position: read, or gone and told of. Where that is known."""
        self._before: dict[bytes, Extent] = {}
        self._unsettled: set[bytes] = set()
        """Streams of which entries were told of as gone since the group's count was last compared."""

    def is_unsettled(self, stream: bytes, now: Extent, position: Place) -> bool:
        """Return whether to say by `settle` how many entries there are up to the group's position: once it has read
        on. Some servers leave its count behind where a trim has overtaken it, others put it right.
        """
        return stream in self._unsettled and now.first is not None and now.first <= position < now.last

    def settle(self, stream: bytes, now: Extent, group: Mapping[bytes, Any], there: int) -> None:
        """Compare the group's count with the entries that are gone, and those that are `there` up to its position."""
        self._unsettled.discard(stream)
        read = group.get(b"entries-read")
        if now.added is not None and isinstance(read, int):
            self._deficit[stream] = max(0, now.added - now.length + there - read)

    def skipped(self, stream: bytes, now: Extent, group: Mapping[bytes, Any]) -> int:
        """Return how many are gone that the group would have read next."""
        before, self._before[stream] = self._before.get(stream), now
        self._number.pop(stream, None)
        position, read = place(group[b"last-delivered-id"]), group.get(b"entries-read")
        added = now.added
        if position >= now.last:
            self._unsettled.discard(stream)
            if added is not None:
                self._number[stream] = added
                if isinstance(read, int):
                    self._deficit[stream] = max(0, added - read)
            return 0
        deficit = self._deficit.get(stream, 0)
        if now.first is not None and now.first <= position:
            if added is not None and isinstance(read, int):
                self._number[stream] = min(added, read + deficit)
            return 0
        if added is not None:
            self._number[stream] = added - now.length
            if isinstance(read, int):
                gone = max(0, added - read - now.length - deficit)
                self._deficit[stream] = deficit + gone
                self._unsettled.add(stream)
                return gone
        if position == NOWHERE or before is None:
            return 0
        return int(before.last > position and (now.first is None or now.first > before.last))

    def number(self, stream: bytes, now: Extent) -> int | None:
        """Return how many entries were up to the group's position at the last look; None where that is not known, or
        where the stream is another one than then.
        """
        before, number = self._before.get(stream), self._number.get(stream)
        if number is None or now.added is None or before is None or before.added is None:
            return None
        goes_on = now.first is not None and now.first <= before.last
        same = now.added >= before.added and (goes_on or now.added - now.length >= before.added)
        return number if same else None

    def made_again(self, stream: bytes) -> None:
        """Take note that the group was made anew: nothing of what it had read before counts."""
        self._deficit.pop(stream, None)
        self._unsettled.discard(stream)


def missed_by_groups(of_stream: Reply, of_groups: Reply, since: str | int) -> dict[str, int]:
    """Return how many entries each group has missed or will miss, by the replies to `XINFO STREAM` and `XINFO GROUPS`.

    None where the stream reaches back beyond `since`, in microseconds since 1970: what is gone is older.
    """
    now = extent(of_stream)
    if now is None or now.added is None:
        return {}
    if isinstance(since, int) and now.first is not None and now.first[0] * 1000 < since:
        return {}
    found = {}
    for group in map(fields_of, of_groups):
        position, read = place(group[b"last-delivered-id"]), group.get(b"entries-read")
        if isinstance(read, int) and (position >= now.last or now.first is None or position < now.first):
            unread = 0 if position >= now.last else now.length
            found[group[b"name"].decode(errors="replace")] = max(0, now.added - read - unread)
    return found


class ReaderOvertaken:
    """Count for a reader without a group, which counts for itself."""

    def __init__(self) -> None:
        self._number: dict[bytes, int] = {}
        """Number of the last entry that was read, as Redis counts them."""

    def skipped(self, stream: bytes, now: Extent, after: Place) -> int:
        """Return how many are gone after this entry, before a read."""
        if now.added is None:
            return 0
        gone_ever = now.added - now.length
        number = self._number.get(stream)
        if number is None or now.added < number:
            self._number.pop(stream, None)
            if after == NOWHERE:
                self._number[stream] = gone_ever
            elif after >= now.last:
                self._number[stream] = now.added
            return 0
        if now.first is not None and now.first <= after:
            return 0
        self._number[stream] = max(number, gone_ever)
        return max(0, gone_ever - number)

    def read(self, stream: bytes, entries: int) -> None:
        """Take note that so many were read."""
        if stream in self._number:
            self._number[stream] += entries

    def forget(self, stream: bytes) -> None:
        """Forget what was read: the stream, or the position in it, is another one."""
        self._number.pop(stream, None)
