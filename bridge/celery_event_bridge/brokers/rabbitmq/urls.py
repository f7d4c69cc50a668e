"""Several brokers in BRIDGE_BROKER_URL: which is next, and messages at one of them that nobody consumes.

They may be nodes of one cluster, or brokers of their own, each with its queues. The workers and the bridge each change
to another one when theirs is away, and need not come back alike: then events wait, or expire, where nobody consumes.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.beside import Beside
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.presence import presence_queue
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

log = logging.getLogger("celery_event_bridge")
EVERY = 30.0
"""Seconds between two looks at the others."""
QUIET = 10.0
"""Seconds without an event after which a bridge may leave a broker whose queues are empty."""
Identity = tuple[str, str]
"""Name of the cluster, and the vhost: alike for the nodes of one cluster."""


def identity(connection: amqp.Connection) -> Identity:
    """Return what the broker is called, and the vhost there."""
    properties = connection.server_properties or {}
    return str(properties.get("cluster_name", "")), str(connection.virtual_host)


class Urls:
    """Order in which the brokers are tried."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0
        self.current = ""
        """URL of the last connection."""

    def connect(self) -> amqp.Connection:
        """Connect to the next one. Raises BrokerUnavailable; then the one after it is next."""
        urls = self._settings.broker_urls
        url = urls[self._next]
        self._next = (self._next + 1) % len(urls)
        connection = connect(self._settings, url, role="consumer")
        if len(urls) > 1 and url != self.current:
            log.info("connected to broker %s, one of %d", hide_in_url(url), len(urls))
        self.current = url
        return connection

    def go_to(self, url: str) -> None:
        """Let that one be the next."""
        self._next = self._settings.broker_urls.index(url)


class LeftBehind:
    """Looks at the brokers of the other URLs; tells of messages there that nobody consumes."""

    def __init__(self, settings: Settings, topology: Topology, every: float = EVERY, quiet: float = QUIET) -> None:
        self._settings = settings
        self._topology = topology
        self._quiet = quiet
        self._beside = Beside(self._look, every) if len(settings.broker_urls) > 1 else None
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
        if self._beside is not None:
            self._beside.look()

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
                queues = [queue.name for queue in (self._topology.live, self._topology.overflow) if queue]
                messages = sum(asking.depth(queue) or 0 for queue in queues)
                # A bridge whose sink is away consumes none of them, and is there all the same.
                asking.depth(presence_queue(self._topology.live.name))
                return 0 if any(asking.consumers.values()) else messages
        finally:
            abandon(connection)
