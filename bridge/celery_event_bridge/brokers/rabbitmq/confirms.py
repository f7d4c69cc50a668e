"""Publisher confirms for commands that publish a few messages and wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

CONFIRM_TIMEOUT = 10.0
"""Seconds."""


class Confirms:
    """Publisher confirms on one channel. Use it before anything is published there."""

    def __init__(self, channel: amqp.Channel) -> None:
        self._channel = channel
        self._confirmed = 0
        self._failure = ""
        self._published = 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(self._returned)

    def wait(self, published: int, target: str, timeout: float = CONFIRM_TIMEOUT) -> None:
        """Until as many more are confirmed. Raises BrokerUnavailable."""
        self._published += published
        deadline = time.monotonic() + timeout
        while self._confirmed < self._published and not self._failure:
            left = deadline - time.monotonic()
            if left <= 0:
                self._failure = f"no confirm within {timeout:g} s"
                break
            try:
                self._channel.connection.drain_events(timeout=left)
            except TimeoutError:
                continue
        if self._failure:
            raise BrokerUnavailable(f"queue {target} did not take a message: {self._failure}; nothing is lost")

    def _acked(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        self._confirmed = tag if multiple else self._confirmed + 1

    def _nacked(self, _tag: int, _multiple: bool) -> None:  # noqa: FBT001
        self._failure = "it is full"

    def _returned(self, *_: Any) -> None:
        self._failure = "it is not there"
