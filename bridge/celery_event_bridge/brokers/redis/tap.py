"""Look at the live events, as one more subscriber."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.envelope import Heard, opened
from celery_event_bridge.brokers.redis.link import connected_link
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

PING = 2.0
"""Seconds without anything after which the server is asked whether it is there."""


class Tap:
    """See the protocol `celery_event_bridge.contract.broker_plugin.LiveEvents`. Connects when made."""

    def __init__(self, settings: Settings) -> None:
        """Subscribe at the first server that answers. Raises BrokerUnavailable."""
        self._arrived: deque[bytes] = deque()
        self._link = connected_link(settings, role="tap")
        self._tag = 0
        self._silent_for = 0.0
        try:
            self._link.subscribe(settings.names.patterns, (), self._arrived.append)
        except BaseException:
            self._link.close()
            raise

    def messages(self, timeout: float) -> Sequence[Heard]:
        """Return those that have arrived, after up to `timeout` seconds. Raises BrokerUnavailable."""
        if self._silent_for >= PING:
            self._silent_for = 0.0
            self._link.send("PING")
        replies = self._link.read(0.0 if self._arrived else timeout, self._arrived.append, lambda _: None)
        for reply in replies:
            if isinstance(reply, Exception):
                raise BrokerUnavailable(f"Redis at {self._link.where}: {reply}")
        self._silent_for = 0.0 if self._arrived else self._silent_for + timeout
        messages = []
        while self._arrived:
            self._tag += 1
            messages.append(opened(self._arrived.popleft(), self, self._tag))
        return messages

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._link.close()
