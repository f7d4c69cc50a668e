"""Messages at another broker of BRIDGE_BROKER_URL that nobody consumes.

The workers and the bridge each change to another one when theirs is away, and need not come back alike: then events
wait, or expire, where nobody consumes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.background import Background
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.presence import presence_queue
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.urls import Identity, identity
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

EVERY = 30.0
"""Seconds between two looks at the others."""
QUIET = 10.0
"""Seconds without an event after which a bridge may leave a broker whose queues are empty."""


class LeftBehind:
    """Looks at the brokers of the other URLs; tells of messages there that nobody consumes."""

    def __init__(self, settings: Settings, topology: Topology, every: float = EVERY, quiet: float = QUIET) -> None:
        self._settings = settings
        self._topology = topology
        self._quiet = quiet
        self._background = Background(self._look, every) if len(settings.broker_urls) > 1 else None
        self._at: Identity = ("", "")
        self._waiting: dict[str, int] = {}
        """Messages that nobody consumes, by URL."""
        self._busy_at = 0.0
        """Time when something was last here."""

    def open(self, at: Identity) -> None:
        """Take note of where the bridge is connected now."""
        if at != self._at:
            self._at, self._waiting = at, {}
        self._busy_at = time.monotonic()

    def look(self) -> None:
        """Look at them if it is time to. Returns at once."""
        if self._background is not None:
            self._background.run_if_due()

    def busy(self) -> None:
        """Take note that something has come here, or waits here."""
        self._busy_at = time.monotonic()

    @property
    def held_up(self) -> str | None:
        """Name what waits at another broker; None where nothing does."""
        for url, messages in list(self._waiting.items()):
            return f"{messages} messages wait at broker {hide_in_url(url)}, where nobody consumes them"
        return None

    def destination(self) -> str | None:
        """Return the URL to go to: there is something to do there, and nothing here."""
        if not self._waiting or time.monotonic() - self._busy_at < self._quiet:
            return None
        return next(iter(self._waiting))

    def _look(self) -> None:
        at = self._at
        found: dict[str, int] = {}
        for url in self._settings.broker_urls:
            try:
                messages = self._messages_at(url, at)
            except BrokerUnavailable:
                continue  # what it was known to hold, nobody gets there now
            name = hide_in_url(url)
            if messages:
                found[url] = messages
                notices.tell(
                    "left-behind",
                    f"{messages} messages wait at broker {name}, where nobody consumes them: this bridge goes there "
                    "once nothing comes here; or start one for that broker, with a BRIDGE_BROKER_URL of it alone",
                    subject=name,
                )
            else:
                notices.over("left-behind", f"nothing waits unconsumed at broker {name}", subject=name)
        if at == self._at:  # else the bridge has gone elsewhere meanwhile
            self._waiting = found

    def _messages_at(self, url: str, at: Identity) -> int:
        """Return how many wait there that nobody consumes, 0 where the bridge is. Raises BrokerUnavailable."""
        connection = connect(self._settings, url, role="look")
        try:
            if identity(connection) == at:
                return 0
            with translated("looking at another broker"):
                asking = Questions(connection)
                queues = [queue.name for queue in self._topology.consumed]
                messages = sum(asking.depth(queue) or 0 for queue in queues)
                # A bridge whose sink is away consumes none of them, and is there all the same.
                asking.depth(presence_queue(self._topology.name))
                return 0 if any(asking.consumers.values()) else messages
        finally:
            abandon(connection)
