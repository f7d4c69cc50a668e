"""Events on other channels than the settings', which a wrong database or prefix is found out by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from celery_event_bridge.brokers.redis.link import connected
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.address import Address
    from celery_event_bridge.brokers.redis.settings import Settings

MOST = 3
"""Channels to name."""
MOST_MESSAGES = 1000
"""Messages to look at."""
ENOUGH = 1.0
"""Seconds to look at them."""


class Overheard:
    """Subscription to every channel of an exchange of that name, while inside. Hears nothing where it may not."""

    def __init__(self, settings: Settings, address: Address) -> None:
        self._settings, self._address = settings, address
        self._connection: Any = None

    def __enter__(self) -> Overheard:
        """Subscribe."""
        try:
            self._connection = connected(self._settings, self._address, role="check", protocol=2)
            self._connection.send_command("PSUBSCRIBE", b"*" + self._settings.event_exchange.encode() + b"/*")
            self._connection.read_response()
        except (BrokerUnavailable, RedisError, OSError):
            self._end()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._end()

    def channels(self) -> list[str]:
        """Return the channels, without their routing keys, on which events have come meanwhile; some of them."""
        found: dict[str, None] = {}
        deadline = Deadline(ENOUGH)
        try:
            for _ in range(MOST_MESSAGES if self._connection is not None else 0):
                if len(found) == MOST or deadline.passed or not self._connection.can_read(0):
                    break
                channel = self._connection.read_response()[2].decode(errors="replace")
                found[channel.rpartition("/")[0] + "/*"] = None
        except (RedisError, OSError, TypeError, LookupError, AttributeError):
            self._end()
        return list(found)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = None
