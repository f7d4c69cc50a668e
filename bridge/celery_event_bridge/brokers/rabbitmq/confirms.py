"""Publisher confirms of one channel, for all that publish: parking, `rejected requeue`, `queues migrate`, `replay`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

CONFIRM_TIMEOUT = 10.0
"""Seconds."""

ItemT = TypeVar("ItemT")
"""Object that stands for what was published, for who publishes it."""


class Confirms(Generic[ItemT]):
    """Set of the tags that a channel still waits for. Make it before anything is published there.

    A set and not a count, since confirms come coalesced and out of order: 3799 alone, then all up to 3798, then 3800.
    """

    def __init__(self, channel: amqp.Channel) -> None:
        self._channel = channel
        self._tags = itertools.count(1)
        self._waiting: dict[int, ItemT] = {}
        """By tag, which grows."""
        self._confirmed: list[ItemT] = []
        self.refused = False
        """True once the broker has refused a message: a queue is full, or has no leader."""
        self.returned = 0
        """Messages that no queue was there for; each is confirmed too."""
        self.heard_at = time.monotonic()
        """Time when the last confirm came, or what had to be waited for began."""
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(self._returned)

    @property
    def waiting(self) -> Collection[ItemT]:
        """Return what is published and not confirmed, in order."""
        return self._waiting.values()

    def publish(self, item: ItemT, message: Any, key: str, *, exchange: str = "", mandatory: bool = True) -> None:
        """Publish, without waiting; the default exchange leads to the queue that `key` names."""
        if not self._waiting:
            self.heard_at = time.monotonic()
        self._waiting[next(self._tags)] = item
        self._channel.basic_publish(message, exchange=exchange, routing_key=key, mandatory=mandatory)

    def take(self) -> list[ItemT]:
        """Return what was confirmed since the last call."""
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def wait(self, queue: str, timeout: float = CONFIRM_TIMEOUT) -> None:
        """Wait until all are confirmed by a queue. Raises BrokerUnavailable."""
        deadline = Deadline(timeout)
        while self._waiting and not (self.refused or self.returned or deadline.passed):
            try:
                self._channel.connection.drain_events(timeout=max(0.01, deadline.left()))
            except TimeoutError:
                continue
        if self.refused or self.returned or self._waiting:
            late = "it is not there" if self.returned else f"no confirm within {timeout:g} s"
            why = "it is full" if self.refused else late
            raise BrokerUnavailable(f"queue {queue} did not take a message: {why}; nothing is lost")
        self._confirmed.clear()

    def _acked(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        self.heard_at = time.monotonic()
        tags = list(itertools.takewhile(lambda waiting: waiting <= tag, self._waiting)) if multiple else [tag]
        self._confirmed += [self._waiting.pop(each) for each in tags if each in self._waiting]

    def _nacked(self, _tag: int, _multiple: bool) -> None:  # noqa: FBT001
        self.refused = True

    def _returned(self, *_: Any) -> None:
        self.returned += 1
