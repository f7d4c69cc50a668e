"""A stream whose last id is before a position: it was made anew, or its end is lost, or a position was set beyond it.

Whatever is added then gets an id from before the position, and would be passed over for as long as the ids are. So
the position goes back to the newest entry that is known to have been read and is there still, else to the beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from celery_event_bridge.contract import notices
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.extent import NOWHERE, Extent, Place, entry_of

SAMPLES = 256
"""Entries of each stream that are remembered, the newest that were read."""
ONE_IN = 50
"""Entries of a large batch for each one that is remembered, beside the last."""


class ReadPlaces:
    """Some of the entries that were read, by which a stream is known again."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._read: dict[bytes, deque[Place]] = {}

    def add(self, stream: bytes, entries: Sequence[tuple[Place, Any]]) -> None:
        """Remember some of these, which are in order."""
        read = self._read.setdefault(stream, deque(maxlen=SAMPLES))
        read.extend(at for at, _ in entries[ONE_IN - 1 : -1 : ONE_IN])
        read.append(entries[-1][0])

    def put_right(self, stream: bytes, now: Extent, position: Place, group: str | None) -> Place:
        """Return the position in a stream that ends before `position`, and tell of it. Raises SinkUnavailable."""
        known = [one for one in reversed(self._read.get(stream, ())) if one <= now.last]
        replies, lost = self._client.exchange([("XRANGE", stream, entry_of(one), entry_of(one)) for one in known])
        if lost is not None:
            raise lost
        left = (one for one, found in zip(known, replies, strict=True) if isinstance(found, list) and found)
        right = next(left, NOWHERE)
        whose = "this reader" if group is None else f"the group {group!r}"
        text = f"Redis at {self._client.where}: the stream {stream.decode(errors='replace')!r} ends at "
        text += f"{entry_of(now.last).decode()}, before the position {entry_of(position).decode()} of {whose}"
        if right == NOWHERE:
            self._read.pop(stream, None)
            kind, text = "stream-replaced", f"{text}: it was made anew by somebody, and is read from its beginning"
        else:
            kind = "stream-shrunk"
            text += (
                f": its end is lost, or the position was set; it goes on after {entry_of(right).decode()}, the last "
            )
            text += "entry there that is known to have been read"
        notices.tell(kind, text, subject=f"{group} {stream!r}", logger="celery_event_bridge.reader")
        return right
