"""Several brokers in BRIDGE_BROKER_URL: which is next, and which are one.

They may be nodes of one cluster, or brokers of their own, each with its queues.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.connection import connect
from celery_event_bridge.contract.secrets import hide_in_url

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

log = logging.getLogger("celery_event_bridge")
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
