"""One end's outage as a state: whether it is away, since when, why, and when to try again."""

from __future__ import annotations

import time

import structlog

from celery_event_bridge.forward.retry import Backoff

log = structlog.get_logger("celery_event_bridge")


class Outage:
    """The broker, the sink or the parking queue, as the relay sees it."""

    def __init__(self, end: str, max_interval: float) -> None:
        self._end = end
        self._backoff = Backoff(max_interval)
        self._since = 0.0
        self.reason: str | None = None
        """Why it is away; None while it is not known to be."""
        self.due = 0.0
        """When to try again, by the monotonic clock; in the past while it is there."""

    def failed(self, reason: str) -> None:
        """An attempt has failed: say so, unless the same was said before, and put off the next."""
        now = time.monotonic()
        self.due = now + self._backoff.failed()
        if self.reason is None:
            self._since = now
        if reason != self.reason:
            log.warning(f"{self._end} unavailable, trying again", reason=reason)
        self.reason = reason

    def over(self) -> bool:
        """It answers. Returns whether it was away."""
        self.due = 0.0
        if self.reason is None:
            return False
        log.info(f"{self._end} available again", after_seconds=round(time.monotonic() - self._since, 1))
        self.reason = None
        self._backoff.succeeded()
        return True
