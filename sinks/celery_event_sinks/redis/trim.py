"""What may be removed from a stream: by length or age with each write, or by what its readers have acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.values import duration
from celery_event_sinks.redis.client import RedisClient

INTERVAL = 10.0
"""Seconds between two looks at the consumer groups."""
ENTRIES = 100_000
"""Entries written after which to look earlier."""


class Trim(NamedTuple):
    """A rule of `BRIDGE_REDIS_TRIM`: `never`, `acked`, `maxlen` (entries) or `age` (seconds)."""

    rule: str
    bound: float = 0.0

    def __str__(self) -> str:
        return f"{self.rule}={self.bound:.15g}" if self.bound else self.rule


def trim_rule(value: Any) -> Any:
    """The text of the setting to its rule. Raises ValueError with what is allowed."""
    if not isinstance(value, str):
        return value
    rule, _, bound = value.strip().partition("=")
    if rule in ("never", "acked") and not bound:
        return Trim(rule)
    try:
        number = float(duration(bound)) if rule == "age" else float(int(bound) if rule == "maxlen" else "")
        if number > 0:
            return Trim(rule, number)
    except ValueError:
        pass
    raise ValueError("expected never, acked, maxlen=1000000 or age=7d")


class AckedTrimmer:
    """Removes what every consumer group has acknowledged. A stream without groups keeps all."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._due = time.monotonic() + INTERVAL
        self._written = 0

    @property
    def due(self) -> bool:
        """Whether it is time to."""
        return time.monotonic() >= self._due or self._written >= ENTRIES

    def wrote(self, entries: int) -> None:
        """So many more are in the streams."""
        self._written += entries

    def trim(self, streams: Iterable[bytes]) -> None:
        """Trim the streams; a failure is no failure of what was written."""
        self._due, self._written = time.monotonic() + INTERVAL, 0
        for stream in sorted(streams):
            try:
                keep_from = self._first_unacknowledged(stream)
                if keep_from is not None:
                    self._client.ask("XTRIM", stream, "MINID", "~", keep_from)
            except SinkUnavailable:
                return

    def _first_unacknowledged(self, stream: bytes) -> bytes | None:
        groups = self._client.ask("XINFO", "GROUPS", stream)
        if isinstance(groups, ResponseError) or not groups:
            return None
        positions = []
        for fields in groups:
            group = dict(zip(fields[::2], fields[1::2], strict=True))
            pending = self._client.ask("XPENDING", stream, group[b"name"])
            if isinstance(pending, ResponseError):
                return None
            positions.append(pending[1] if pending[0] else _after(group[b"last-delivered-id"]))
        return min(positions, key=_number)


def _number(entry: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds), int(sequence)


def _after(entry: bytes) -> bytes:
    milliseconds, sequence = _number(entry)
    return b"%d-%d" % (milliseconds, sequence + 1)
