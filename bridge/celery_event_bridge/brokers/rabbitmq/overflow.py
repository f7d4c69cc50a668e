"""A warning before the overflow queue is full and RabbitMQ drops its oldest messages."""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger("celery_event_bridge")

WARN_FROM = 0.8
"""Of the bound."""
EVERY = 60.0
"""Seconds between two warnings."""
TYPICAL_BODY = 400.0
"""Bytes; what a replica goes by that has not seen a message yet, as after a start in the middle of an outage."""


class OverflowWatch:
    """Looks at the depth. Over AMQP that is a number of messages: what they weigh is the mean of those seen lately."""

    def __init__(self, queue: str, bound: int) -> None:
        self._queue = queue
        self._bound = bound
        self._due = 0.0

    def look(self, messages: int, mean_body: float) -> None:
        """Warn, once a minute, while `messages` of `mean_body` bytes take most of the bound."""
        size = messages * (mean_body or TYPICAL_BODY)
        now = time.monotonic()
        if size < WARN_FROM * self._bound or now < self._due:
            return
        self._due = now + EVERY
        log.warning(
            "the overflow queue is nearly full; past its bound RabbitMQ drops the oldest messages: "
            "see to the sink, or raise BRIDGE_OVERFLOW_MAX_BYTES with a new queue",
            queue=self._queue,
            messages=messages,
            percent=round(100 * size / self._bound),
        )
