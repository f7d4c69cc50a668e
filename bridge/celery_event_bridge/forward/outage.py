"""Outage of one end as a state: whether it is away, since when, why, and when to try again."""

from __future__ import annotations

import time

import structlog

from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.forward.retry import Backoff

log = structlog.get_logger("celery_event_bridge")


SAY_AGAIN = 60.0
"""Seconds after which an outage that lasts is told of again."""


class Outage:
    """The broker, the sink or the parking queue, as the relay sees it."""

    def __init__(self, end: str, max_interval: float, clock: Clock = time) -> None:
        self._end = end
        self._clock = clock
        self._backoff = Backoff(max_interval)
        self._since = 0.0
        self._said: dict[str, float] = {}
        """Time when each reason was last logged: several URLs in turn give several."""
        self.reason: str | None = None
        """Reason why it is away; None while it is not known to be."""
        self.due = 0.0
        """Time when to try again, by the monotonic clock; in the past while it is there."""

    def failed(self, reason: str) -> None:
        """Take note of a failed attempt: say so, once a minute for each reason, and put off the next."""
        now = self._clock.monotonic()
        self.due = now + self._backoff.failed()
        if self.reason is None:
            self._since = now
        if now - self._said.get(reason, -SAY_AGAIN) >= SAY_AGAIN:
            self._said = {said: at for said, at in self._said.items() if now - at < SAY_AGAIN} | {reason: now}
            lasting = {"for_seconds": round(now - self._since)} if now - self._since >= SAY_AGAIN else {}
            log.warning(f"{self._end} unavailable, trying again", reason=reason, **lasting)
        self.reason = reason

    def over(self) -> bool:
        """End the outage: it answers. Returns whether it was away."""
        self.due = 0.0
        if self.reason is None:
            return False
        log.info(f"{self._end} available again", after_seconds=round(self._clock.monotonic() - self._since, 1))
        self.reason = None
        self._said.clear()
        self._backoff.succeeded()
        return True
