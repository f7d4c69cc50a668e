"""Pace of a replay: all at once, or in the rhythm in which events happened. Pure."""

from __future__ import annotations

LONGEST_GAP = 86_400
"""Seconds between two events: by a longer leap, of a clock that was wrong for instance, the rhythm begins anew."""


class Pace:
    """`speed` times as fast as it happened; None: as fast as possible."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._began = 0.0
        self._first: int | None = None
        self._latest = 0

    def due(self, time: int, now: float) -> float:
        """Return when to send an event of this time (microseconds since 1970), in seconds of the clock of `now`.

        In the past for one that happened before another that was sent, and where sending falls behind.
        """
        if self._speed is None:
            return now
        if self._first is None or abs(time - self._latest) > LONGEST_GAP * 1e6:
            self._began, self._first, self._latest = now, time, time
        self._latest = max(self._latest, time)
        return self._began + (time - self._first) / 1e6 / self._speed
