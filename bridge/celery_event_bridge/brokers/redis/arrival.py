"""Arrival at another server than before: what was published there meanwhile nobody may have heard."""

from __future__ import annotations

from celery_event_bridge.brokers.redis.lease import Seen

LAG = 1.0
"""Seconds by which the keys of a server that took another one's place may be older than what that one was."""


class Arrival:
    """Time when we came there, until that server says what is confirmed. All times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._came: tuple[float, float] | None = None
        """Time of it, and how long nothing had been heard then."""

    def at(self, now: float, silent: float) -> None:
        """Begin, having heard nothing for so many seconds."""
        self._came = now, silent

    def missed(self, seen: Seen | None, now: float) -> float:
        """Return for how long nothing was heard at this server: in a partition, we were at another one that long.

        0 where it was no longer than is known, and each time after the first answer.
        """
        if self._came is None or seen is None:
            return 0.0
        (came_at, silent), self._came = self._came, None
        if seen.record is None:
            return 0.0
        seconds = (seen.now - seen.record.at) - (now - came_at)
        return seconds if seconds > silent + LAG else 0.0
