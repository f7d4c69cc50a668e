"""Ends of streams, for a reader that ends: the last entry of each when it was opened, and whether it was reached."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from celery_event_bridge.contract import Reading
from celery_event_sinks.redis.begin import BEGINNING, Beginning
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.extent import Place, entry_of, extent
from celery_event_sinks.redis.group import RedisGroup

Entries = Sequence[tuple[Place, list[bytes]]]


class End(enum.Enum):
    """The end of a stream, as a group sees it."""

    AHEAD = "ahead"
    REACHED = "reached"
    GONE = "gone"


class Ends:
    """Ends by stream. What was there when one was opened is to be read: what is not is missing."""

    def __init__(self, ask: Callable[..., Any], client: RedisClient, begin: Beginning, reading: Reading) -> None:
        """`ask` raises SinkUnavailable where Redis answers with an error."""
        self._ask = ask
        self._client = client
        self._begin = begin
        self._counts = reading.group is None and reading.since == "earliest" and not reading.newest
        """True if all that the stream holds is for this reader."""
        self.last: dict[bytes, Place] = {}
        self._told: set[bytes] = set()
        self._left: Counter[bytes] = Counter()
        """Number of entries up to the end that are to be read still, where that is known."""

    def note(self, stream: bytes) -> None:
        """Take note of the last entry that there is now. Raises SinkUnavailable."""
        if stream in self.last:
            return
        reply = self._client.ask("XINFO", "STREAM", stream) if self._counts else None
        now = None if reply is None or isinstance(reply, ResponseError) else extent(reply)
        if now is None or now.newest is None:
            self.last[stream] = self._begin.last(stream)
        else:
            self.last[stream], self._left[stream] = now.newest, now.length

    def is_ahead(self, stream: bytes, position: Place) -> bool:
        """Return whether there is something between this position and the end, which has not been told to be gone."""
        return stream not in self._told and self.last[stream] > max(position, BEGINNING)

    def is_before(self, stream: bytes, entries: Entries) -> bool:
        """Return whether there is more to be read of a stream of which these were fetched."""
        return bool(entries) and entries[-1][0] < self.last[stream]

    def up_to(self, stream: bytes, entries: Entries) -> list[tuple[Place, list[bytes]]]:
        """Return those of the entries that were there when it was opened."""
        return [one for one in entries if one[0] <= self.last[stream]]

    def missed(self, streams: Iterable[bytes], found: Mapping[bytes, Entries], skipped: Mapping[bytes, int]) -> int:
        """Return how many are missing, at least, of streams that a reader without a group has read to the end in this
        fetch; `skipped` are those that are told of already.
        """
        missed = 0
        for stream in streams:
            entries, last = found.get(stream, ()), self.last[stream]
            self._left[stream] -= len(self.up_to(stream, entries)) + skipped.get(stream, 0)
            if self.is_before(stream, entries) or any(at == last for at, _ in entries):
                continue
            if last > BEGINNING and not skipped.get(stream):
                missed += max(1, self._left[stream])
                self._told.add(stream)
        return missed

    def of_group(self, group: RedisGroup, stream: bytes, entries: Entries) -> End:
        """Return where a group is, by what it was given last. Each of its readers may have been given the end.

        Raises SinkUnavailable.
        """
        last = self.last[stream]
        if self.is_before(stream, entries):
            return End.AHEAD
        ours = self.up_to(stream, entries)
        known = group.before.get(stream, last) if entries else group.delivered(stream)
        position = ours[-1][0] if ours else known
        if position >= last:
            return End.REACHED
        # Another reader may have been faster, so that nothing was left to be given to this one.
        left = self._ask("XRANGE", stream, entry_of((position[0], position[1] + 1)), entry_of(last), "COUNT", 1)
        if left:
            return End.AHEAD
        self._told.add(stream)
        return End.GONE
