"""Lingering, `BRIDGE_LINGER`: events that come one by one are waited for, so that the loop turns for several."""

from __future__ import annotations

from celery_event_bridge.contract.broker import Source, Urgent
from celery_event_bridge.contract.clock import Clock

MANY = 100
"""Messages of one turn after which there is nothing to wait for: others are there already."""
URGENT = 0.1
"""Seconds, at most, where the broker holds nothing for us: the lease has to be seen to in between."""


class Linger:
    """Pauses of one relay, behind turns that have received something. An event on its own is handed over at once."""

    def __init__(self, seconds: float, source: Source, clock: Clock) -> None:
        self._seconds = min(seconds, URGENT) if isinstance(source, Urgent) else seconds
        self._clock = clock

    def wait(self, received: int) -> None:
        """Wait behind a turn that has received so many messages: what comes meanwhile comes in one go."""
        if self._seconds and 0 < received < MANY:
            self._clock.sleep(self._seconds)
