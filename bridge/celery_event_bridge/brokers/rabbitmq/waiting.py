"""Waiting for others to be done with the queues, and for what RabbitMQ holds back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

LOOK = 0.5
"""Seconds between two looks at a queue that others still drain."""
SAY = 10.0
"""Seconds between two lines that say what is waited for."""
Tell = Callable[[str], None]


class Says:
    """Says what is waited for, at once and then once in SAY seconds."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._due = 0.0

    def waiting(self, text: str) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + SAY
            self._tell(text)


def may_hold_back(topology: Topology) -> bool:
    """Return whether the live queue dead-letters at least once: it keeps what its target does not confirm."""
    return topology.live.arguments.get("x-dead-letter-strategy") == "at-least-once"


def for_what_is_not_ready(*, seen: bool) -> str:
    """Return what is waited for; `seen` where the management API tells."""
    held_back = "that RabbitMQ may hold back for their dead-letter route"
    if seen:
        return f"looking for messages {held_back}, or that somebody has in hand: 15 s"
    return f"looking for messages {held_back}: up to three minutes, 15 s with BRIDGE_MANAGEMENT_URL"
