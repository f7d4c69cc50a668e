"""Attempts of a reader at its stream: an outage is waited out, or given up after some time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from celery_event_bridge.contract import SinkUnavailable, StreamMissing, StreamRefused
from celery_event_bridge.forward.retry import Backoff

log = logging.getLogger("celery_event_bridge.reader")


class Attempts:
    """Calls what it is given, and knows whether the stream is away, since when and why."""

    def __init__(self, stopping: threading.Event, longest_pause: float, give_up_after: float | None) -> None:
        """Begin; pauses grow up to `longest_pause` seconds, `stopping` cuts them short, None never gives up."""
        self._stopping = stopping
        self._backoff = Backoff(longest_pause)
        self._give_up_after = give_up_after
        self._away_since: float | None = None
        self._reason: str | None = None
        self._has_worked = False
        self.has_read = False
        """True once there has been a record."""

    @property
    def reason(self) -> str | None:
        """Return why the stream is away, while it is."""
        return None if self._away_since is None else self._reason

    def __call__(self, action: Callable[[], None]) -> bool:
        """Try it; returns whether it was possible, if not, after a pause. Raises SinkUnavailable past the patience."""
        try:
            action()
        except SinkUnavailable as exc:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            hopeless = self._is_hopeless(exc)
            if self._give_up_after is not None and (hopeless or now - self._away_since >= self._give_up_after):
                raise
            if str(exc) != self._reason:
                self._say(str(exc))
            self._stopping.wait(self._backoff.failed())
            return False
        self._has_worked = True
        if self._away_since is not None:
            log.info("stream available again after %.1f s", time.monotonic() - self._away_since)
            self._away_since = self._reason = None
            self._backoff.succeeded()
        return True

    def _say(self, reason: str) -> None:
        """Tell of an outage, and of each other reason that it has later."""
        is_news, self._reason = self._reason is None, reason
        lasting = f" for {self._give_up_after:g} s" if self._give_up_after is not None and is_news else ""
        log.warning("stream unavailable, trying again%s: %s", lasting, reason)

    def _is_hopeless(self, exc: SinkUnavailable) -> bool:
        """Return whether no retry mends it, as far as it can be told."""
        if isinstance(exc, StreamMissing):
            return not self._has_worked
        return isinstance(exc, StreamRefused) and not self.has_read
