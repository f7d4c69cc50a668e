"""Status of the relay now: written by its thread, read by the one that answers HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping

STALLED_AFTER = 60.0
"""Seconds without a turn of the loop after which it counts as dead. A turn takes a few seconds at most."""


class Status:
    """Plain attributes, each assigned whole, so that a reader in another thread needs no lock."""

    def __init__(self) -> None:
        self.turned_at = time.monotonic()
        """Time when the loop last turned, by the monotonic clock."""
        self.broker_reason: str | None = "not connected yet"
        """Reason why the broker is not connected; None if it is."""
        self.held_up: str | None = None
        """Obstacle that keeps events from us though we consume; None where there is none."""
        self.sink_reasons: dict[str, str | None] = {}
        """Reason why each sink is not available; None where it is."""
        self.inflight_messages = 0
        self.inflight_bytes = 0
        self.oldest_inflight_since: float | None = None
        """Time when the oldest message in hand was taken, by the monotonic clock."""
        self.queue_messages: Mapping[str, int] = {}
        """Ready messages by queue."""
        self.unparkable_messages = 0
        """Messages that can be neither forwarded nor parked now."""
        self.forwarding = self.stands_by = False
        """True while events are handed to the sink as they come; or while another bridge does that, and we wait."""
        self.stopping = False
        self.started = False
        """True once it was ready when somebody asked."""

    def live(self) -> str | None:
        """Return None, or why the process should be replaced."""
        stalled = time.monotonic() - self.turned_at
        return f"the loop has not turned for {stalled:.0f} s" if stalled > STALLED_AFTER else None

    def healthy(self) -> str | None:
        """Return None once it has been ready, and while it lives; else why not.

        For who waits for a start, and replaces what is unhealthy: an outage at the start shows, a later one replaces
        nobody. Somebody has to ask from time to time.
        """
        if not self.started:
            reason = self.ready()
            self.started = reason is None
            return reason
        return self.live()

    def ready(self) -> str | None:
        """Return None, or why nothing is being forwarded, or not all."""
        if self.stopping:
            return "stopping"
        reasons = [f"{name}: {reason}" for name, reason in self.sink_reasons.items() if reason is not None]
        if self.broker_reason is not None:
            reasons.insert(0, f"broker: {self.broker_reason}")
        if self.held_up is not None:
            reasons.append(self.held_up)
        return self.live() or "; ".join(reasons) or None
