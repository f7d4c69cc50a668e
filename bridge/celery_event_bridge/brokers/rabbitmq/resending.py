"""Sending parked messages again, some at a time: each is taken out once the live queue has confirmed and kept all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.destination import Destination

BATCH = 200
"""Messages that are sent between two looks at the target: a crash in between doubles them."""
BATCH_BYTES = 1024 * 1024


class Resending:
    """Messages that one channel has taken from a queue, on their way to another. Raises BrokerUnavailable."""

    def __init__(self, channel: amqp.Channel, source: str, target: Destination) -> None:
        self._channel = channel
        self._source = source
        self._target = target
        self._confirms: Confirms[int] = Confirms(channel)
        """Each message's tag where it was taken."""
        self._batch: list[tuple[AmqpMessage, int]] = []
        self._bytes = 0
        self._sent = 0

    def put(self, message: AmqpMessage, tag: int) -> None:
        """Send it with others, soon; `tag` is that of its delivery."""
        self._batch.append((message, tag))
        self._bytes += len(message.body)
        if len(self._batch) >= BATCH or self._bytes >= BATCH_BYTES:
            self._send()

    def finish(self) -> int:
        """Send what is left. Returns how many were sent in all."""
        self._send()
        return self._sent

    def _send(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        if not batch:
            return
        before = self._target.count()
        for message, tag in batch:
            self._confirms.publish(tag, message, self._target.name)
        try:
            self._confirms.wait(self._target.name)
        except BrokerUnavailable:
            if not self._confirms.returned:  # what no queue was there for is confirmed too
                self._take_out(before, self._confirms.take())
            raise
        self._take_out(before, [tag for _, tag in batch])

    def _take_out(self, before: int | None, confirmed: Sequence[int]) -> None:
        moved = f"{self._sent} messages were sent again"
        if text := self._target.why_not_kept(before, len(confirmed), source=self._source, moved=moved):
            raise BrokerUnavailable(text)
        for tag in confirmed:
            self._channel.basic_ack(tag)
        self._sent += len(confirmed)
