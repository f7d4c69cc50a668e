"""Publisher confirms for commands that publish some messages and wait."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

CONFIRM_TIMEOUT = 10.0
"""Seconds."""


class Confirms:
    """The set of tags that one channel still waits for. Make it before anything is published there.

    A set and not a count, since confirms come coalesced and out of order: 3799 alone, then all up to 3798, then 3800.
    """

    def __init__(self, channel: amqp.Channel) -> None:
        self._channel = channel
        self._tags = itertools.count(1)
        self._waiting: set[int] = set()
        self._failure = ""
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(self._returned)

    def publish(self, message: Any, queue: str) -> None:
        """Publish to a queue, without waiting. A queue that is not there is a failure of `wait`."""
        self._waiting.add(next(self._tags))
        self._channel.basic_publish(message, "", queue, mandatory=True)

    def wait(self, target: str, timeout: float = CONFIRM_TIMEOUT) -> None:
        """Wait until all are confirmed. Raises BrokerUnavailable."""
        deadline = Deadline(timeout)
        while self._waiting and not self._failure:
            if deadline.passed:
                self._failure = f"no confirm within {timeout:g} s"
                break
            try:
                self._channel.connection.drain_events(timeout=max(0.01, deadline.left()))
            except TimeoutError:
                continue
        if self._failure:
            raise BrokerUnavailable(f"queue {target} did not take a message: {self._failure}; nothing is lost")

    def _acked(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        if multiple:
            self._waiting = {waiting for waiting in self._waiting if waiting > tag}
        else:
            self._waiting.discard(tag)

    def _nacked(self, _tag: int, _multiple: bool) -> None:  # noqa: FBT001
        self._failure = "it is full"

    def _returned(self, *_: Any) -> None:
        self._failure = "it is not there"
