"""A bridge broken on purpose: it acknowledges what it receives before the sink has confirmed it. A negative control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.cli import main
from celery_event_bridge.contract.broker import Ack, Message
from celery_event_bridge.forward.ledger import Ledger

poll = AmqpSource.poll
take_acks = Ledger.take_acks


def poll_and_acknowledge(self: AmqpSource, timeout: float) -> Sequence[Message]:
    messages = poll(self, timeout)
    self.acknowledge([Ack(message.lane, message.tag, multiple=False) for message in messages])
    return messages


def nothing_to_acknowledge(self: Ledger[Any], *arguments: Any, **options: Any) -> list[Ack]:
    take_acks(self, *arguments, **options)
    return []


AmqpSource.poll = poll_and_acknowledge  # type: ignore[assignment, method-assign]
Ledger.take_acks = nothing_to_acknowledge  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
