"""Removal from a stream: by length with each write; every 10 s by age, or what its readers acknowledged."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.values import retention
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.clock import StreamClock
from celery_event_sinks.redis.extent import NOWHERE, Place, entry_of, extent, fields_of, is_absent, place
from celery_event_sinks.redis.needed import HOLD, NeededEntries

INTERVAL = 10.0
"""Seconds between two times of trimming."""
ENTRIES = 100_000
"""Entries written after which to trim earlier."""
TIME_FOR_ALL = 4.0
"""Seconds that trimming may take at most; half of them for sure."""


class Trim(NamedTuple):
    """A rule of `BRIDGE_REDIS_TRIM`: `never`, `acked`, `maxlen` (entries) or `age` (seconds)."""

    rule: str
    bound: float = 0.0

    def __str__(self) -> str:
        unit = "s" if self.rule == "age" else ""
        return f"{self.rule}={self.bound:.15g}{unit}" if self.bound else self.rule


def trim_rule(value: Any) -> Any:
    """Parse the text of the setting to its rule. Raises ValueError with what is allowed."""
    if not isinstance(value, str):
        return value
    rule, _, bound = value.strip().partition("=")
    if rule in ("never", "acked") and not bound:
        return Trim(rule)
    try:
        number = float(retention(bound)) if rule == "age" else float(int(bound) if rule == "maxlen" else "")
        if number > 0:
            return Trim(rule, number)
    except ValueError as exc:
        if str(exc).startswith("expected a unit"):
            raise ValueError(f"age: {exc}") from None
    raise ValueError("expected never, acked, maxlen=1000000 or age=7d")


class Trimmer:
    """Removes what every consumer group has acknowledged (a stream without groups keeps all), or what is too old.

    Between writes and not with each of them, so that Redis answers how many entries are gone.
    """

    def __init__(
        self,
        client: RedisClient,
        trim: Trim,
        clock: StreamClock,
        interval: float = INTERVAL,
        needed: NeededEntries | None = None,
    ) -> None:
        self._interval = interval
        self._needed = NeededEntries() if needed is None else needed
        self._client = client
        self._trim = trim
        self._clock = clock
        self._due = time.monotonic() + (0.0 if trim.rule == "age" else self._interval)
        self._written = 0
        self._turn: deque[bytes] = deque()
        self.removed: Counter[bytes] = Counter()
        """Entries by stream, since somebody has taken them from here."""

    @property
    def due(self) -> bool:
        """Return whether it is time to."""
        return self._trim.rule in ("acked", "age") and (time.monotonic() >= self._due or self._written >= ENTRIES)

    def wrote(self, entries: int) -> None:
        """Take note that so many more are in the streams."""
        self._written += entries

    def kept_from(self, stream: bytes) -> Place:
        """Return the place before which the rule may have removed entries. Raises SinkUnavailable."""
        rule, bound = self._trim
        if rule == "age" and (oldest := self._by_age()) is not None:
            return int(oldest), 0
        if rule == "acked" and (first := self._first_unacknowledged(stream)) is not None:
            return place(first)
        if rule == "maxlen":
            reply = self._client.ask("XINFO", "STREAM", stream)
            now = None if isinstance(reply, ResponseError) else extent(reply)
            return now.first if now is not None and now.first is not None and now.length >= bound else NOWHERE
        return NOWHERE

    def trim(self, streams: Iterable[bytes]) -> None:
        """Trim the streams; a failure is no failure of what was written. Goes on next time where it takes long."""
        self._due, self._written = time.monotonic() + self._interval, 0
        names = set(streams)
        self._turn.extend(sorted(names.difference(self._turn)))
        try:
            with self._client.within(TIME_FOR_ALL) as deadline:
                by_age = self._trim.rule == "age"
                keep_from = self._by_age() if by_age else None
                for _ in range(len(self._turn)):
                    if deadline.left() < TIME_FOR_ALL / 2:
                        break
                    stream = self._turn.popleft()
                    if stream in names:
                        self._trim_one(stream, keep_from if by_age else self._first_unacknowledged(stream))
        except SinkUnavailable:
            return

    def _trim_one(self, stream: bytes, keep_from: bytes | None) -> None:
        """Redis removes some thousand entries at a time at most."""
        removed = 0
        with self._client.within(TIME_FOR_ALL) as deadline:
            while keep_from is not None and deadline.left() >= TIME_FOR_ALL / 2:
                reply = self._client.ask("XTRIM", stream, "MINID", "~", keep_from)
                if isinstance(reply, ResponseError):
                    text = f"BRIDGE_REDIS_TRIM={self._trim}: nothing is removed: {self._client.explain(reply)}"
                    notices.tell("stream-advice", text, subject=text)
                if not isinstance(reply, int) or not reply:
                    break
                removed += reply
        self.removed[stream] += removed
        tell_removed(stream, removed, self._trim)

    def _by_age(self) -> bytes | None:
        now = self._clock.ask(self._client)
        if now is None:
            text = f"BRIDGE_REDIS_TRIM={self._trim}: nothing is removed, its time is unknown: the user needs +time"
            notices.tell("stream-advice", text, subject=text)
        return None if now is None else b"%d" % max(0, now - round(self._trim.bound * 1000))

    def _first_unacknowledged(self, stream: bytes) -> bytes | None:
        reply = self._client.ask("XINFO", "GROUPS", stream)
        if isinstance(reply, ResponseError) and not is_absent(reply):
            return None
        positions: dict[bytes, Place] = {}
        for group in map(fields_of, () if isinstance(reply, ResponseError) else reply):
            pending = self._client.ask("XPENDING", stream, group[b"name"])
            if isinstance(pending, ResponseError):
                return None  # not allowed, or gone since: the next time has it
            self._look_for_lost(stream, group[b"name"], [one[0] for one in pending[3] or ()])
            first = pending[1] if pending[0] else _after(group[b"last-delivered-id"])
            positions[group[b"name"]] = place(first)
        for name in self._needed.look(stream, positions, time.monotonic()):
            text = (
                f"Redis at {self._client.where}: the group {name.decode(errors='replace')!r} of the stream "
                f"{stream.decode(errors='replace')!r} is gone (XGROUP DESTROY, DEL): what it had not acknowledged is "
                f"kept for {HOLD:.0f} s more, and then removed by BRIDGE_REDIS_TRIM={self._trim}; a reader that runs "
                "makes the group again where it was"
            )
            notices.tell("group-gone", text, subject=f"redis {stream!r} {name!r}")
        first_needed = self._needed.first(stream)
        return None if first_needed is None else entry_of(first_needed)

    def _look_for_lost(self, stream: bytes, group: bytes, in_hand: list[bytes]) -> None:
        """Find out whether a consumer that had entries in hand, and has none now, is still there."""
        if settled := self._needed.settled(stream, group, in_hand):
            reply = self._client.ask("XINFO", "CONSUMERS", stream, group)
            if not isinstance(reply, ResponseError) and settled - {fields_of(one)[b"name"] for one in reply}:
                self._needed.lost(stream, group, time.monotonic())


def _after(entry: bytes) -> bytes:
    milliseconds, number = place(entry)
    return entry_of((milliseconds, number + 1))


def tell_removed(stream: bytes, count: int, trim: Trim) -> None:
    """Entries are gone as the setting wants it: counted, and in the log now and then."""
    if count:
        text = (
            f"{count} entries removed from the stream {stream.decode(errors='replace')!r} by BRIDGE_REDIS_TRIM={trim}"
        )
        notices.tell("removed", text, subject=f"redis {stream!r}", count=count, level=logging.INFO)
