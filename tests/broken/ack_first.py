"""A bridge broken on purpose: it acknowledges what it receives before the sink has confirmed it. A negative control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.redis.source import RedisSource
from celery_event_bridge.cli import main
from celery_event_bridge.contract.broker import Ack
from celery_event_bridge.forward.ledger import Ledger

take_acks = Ledger.take_acks


def break_it(source: type[Any]) -> None:
    """Let that kind of source acknowledge at once what it hands out."""
    poll = source.poll

    def poll_and_acknowledge(self: Any, timeout: float) -> Sequence[Any]:
        messages: Sequence[Any] = poll(self, timeout)
        self.acknowledge([Ack(message.lane, message.tag, multiple=False) for message in messages])
        return messages

    source.poll = poll_and_acknowledge


def nothing_to_acknowledge(self: Ledger[Any], *arguments: Any, **options: Any) -> list[Ack]:
    take_acks(self, *arguments, **options)
    return []


break_it(AmqpSource)
break_it(RedisSource)
Ledger.take_acks = nothing_to_acknowledge  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
