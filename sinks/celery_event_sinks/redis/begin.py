"""Entries to begin at in a stream, its last one, and those before a group's position: what is asked before reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery_event_bridge.contract import Reading, Record
from celery_event_sinks.redis.extent import Place, entry_of, place
from celery_event_sinks.redis.stored import record

BEGINNING: Place = (0, 0)
PAGE = 1000
"""Entries to ask for at a time."""
LAST = 2**64 - 1
"""The largest number in an entry's id."""


class Beginning:
    """Asks Redis by `ask`, which takes a command. Each method raises SinkUnavailable."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def last(self, stream: bytes) -> Place:
        """Return the stream's last entry; BEGINNING where there is none."""
        reply = self._ask("XREVRANGE", stream, "+", "-", "COUNT", 1)
        return place(reply[0][0]) if reply else BEGINNING

    def after(self, stream: bytes, reading: Reading) -> str:
        """Return the entry after which to begin where there is no position."""
        since = reading.since
        if reading.newest:
            return entry_of(self._before_the_newest(stream, reading.newest)).decode()
        if since == "earliest":
            return "0-0"
        last = self.last(stream)
        # No position is beyond the stream's end: there it would be that of another stream.
        at = last if since == "latest" else min(last, (max(0, -(-int(since) // 1000) - 1), LAST))
        return entry_of(at).decode()

    def read_back(self, stream: bytes, delivered: bytes, wanted: int) -> list[Record]:
        """Return the last entries up to this one, that many at most, oldest first."""
        records: list[Record] = []
        before = delivered
        while len(records) < wanted:
            page = self._ask("XREVRANGE", stream, before, "-", "COUNT", min(PAGE, wanted - len(records)))
            if not page:
                break
            records += [record(stream, place(at), fields) for at, fields in page]
            before = b"(" + page[-1][0]
        return records[::-1]

    def _before_the_newest(self, stream: bytes, wanted: int) -> Place:
        """Return the place before that many of the last entries; BEGINNING where there are fewer."""
        before = b"+"
        while wanted:
            page = self._ask("XREVRANGE", stream, before, "-", "COUNT", min(PAGE, wanted))
            if not page:
                return BEGINNING
            before, wanted = b"(" + page[-1][0], wanted - len(page)
        milliseconds, number = place(before[1:])
        if number:
            return milliseconds, number - 1
        return (milliseconds - 1, LAST) if milliseconds else BEGINNING
