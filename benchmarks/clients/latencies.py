"""What a reader of a stream reports: how long after its own timestamp each event could be read."""

from __future__ import annotations

import json
import re
import time

TIMESTAMP = re.compile(rb'"timestamp": ([\d.]+)')


class Latencies:
    """Of so many events, in milliseconds."""

    def __init__(self, wanted: int, seconds: float) -> None:
        self._wanted = wanted
        self._deadline = time.monotonic() + seconds
        self._found: list[tuple[float, float]] = []
        print("ready", flush=True)

    def add(self, data: bytes, now: float) -> None:
        """The events in there could be read at that time, seconds since 1970."""
        self._found += [(moment := float(text), now - moment) for text in TIMESTAMP.findall(data)]

    @property
    def complete(self) -> bool:
        """Whether all are there, or it has taken too long."""
        return len(self._found) >= self._wanted or time.monotonic() > self._deadline

    def report(self) -> None:
        """Print them in the order of the events."""
        print(json.dumps([round(latency * 1000, 3) for _, latency in sorted(self._found)]), flush=True)
