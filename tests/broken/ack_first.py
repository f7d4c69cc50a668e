"""A bridge broken on purpose: it acknowledges what it receives before the sink has confirmed it. A negative control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery_event_bridge.cli import main
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.forward.ledger import Ack, Ledger
from celery_event_bridge.forward.relay import Relay

take_in = Relay._take_in
take_acks = Ledger.take_acks


def take_in_and_acknowledge(self: Relay, messages: Sequence[Message]) -> None:
    take_in(self, messages)
    self._source.acknowledge([Ack(message.lane, message.tag, multiple=False) for message in messages])


def nothing_to_acknowledge(self: Ledger[Any], *arguments: Any, **options: Any) -> list[Ack]:
    take_acks(self, *arguments, **options)
    return []


Relay._take_in = take_in_and_acknowledge  # type: ignore[method-assign]
Ledger.take_acks = nothing_to_acknowledge  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
