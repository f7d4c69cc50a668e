"""Queues that a migration has declared and bound, which anybody may undo while it waits: seen to with each look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.bindings import OtherBindings
    from celery_event_bridge.brokers.rabbitmq.operations import Broker
    from celery_event_bridge.brokers.rabbitmq.topology import Topology
    from celery_event_bridge.brokers.rabbitmq.waiting import Tell


class NewQueues:
    """The new queues of a migration, declared already; events reach nothing else meanwhile."""

    def __init__(self, broker: Broker, new: Topology, others: OtherBindings, tell: Tell) -> None:
        """Begin. Raises BrokerUnavailable."""
        self._broker = broker
        self._new = new
        self._others = others
        self._tell = tell
        self._told: set[str] = set()
        self._is_new = False
        """True if the live queue was found deleted at the last look, and with it what it was bound to."""
        self._asking = Questions(broker.connection)
        with translated("looking at the new queues"):
            # Where this user may not declare them their absence says nothing.
            self._witnessed, self._queue_witnessed = self._witnesses()

    def look(self) -> None:
        """Declare and bind them again, a no-op where they are, and tell once of each thing that somebody has undone.

        Raises BrokerUnavailable, also where somebody has declared one with other arguments.
        """
        with translated("looking at the new queues"):
            undone = list(self._undone())
        self._broker.declare(self._new)
        if self._is_new:
            self._broker.ask(self._others.carry_over)
        for text in undone:
            if text not in self._told:
                self._told.add(text)
                self._tell(text)

    def _undone(self) -> Iterator[str]:
        """Return a line for each thing that is not as it was left. Raises what the client raises."""
        live, exchange = self._new.live.name, self._new.exchange
        missing = [queue.name for queue in self._new.queues if self._asking.depth(queue.name) is None]
        exchange_is_there = self._asking.exists(exchange, "topic")
        same_exchange, same_queue = self._witnesses()
        self._is_new = live in missing or (self._queue_witnessed and not same_queue)
        for name in missing:
            bound = ", and events published meanwhile" if name == live else ""
            yield f"queue {name}: was deleted by somebody, and what it held{bound} is gone; declared again"
        if live not in missing and self._is_new:
            yield (
                f"queue {live}: was deleted and declared anew by somebody, and what it held, and events published "
                "meanwhile, is gone; bound again"
            )
        if not exchange_is_there:
            yield (
                f"exchange {exchange}: was deleted by somebody, and events published meanwhile are gone; declared, and "
                f"queue {live} bound, again"
            )
        elif self._witnessed and not same_exchange:
            yield (
                f"exchange {exchange}: was deleted and declared anew by somebody, and events published meanwhile are "
                f"gone; queue {live} is bound again"
            )
        elif not self._is_new and self._is_unbound():
            yield (
                f"queue {live}: was unbound from exchange {exchange} by somebody, and events published meanwhile are "
                "gone; bound again"
            )

    def _witnesses(self) -> tuple[bool, bool]:
        return (
            self._asking.exists(self._new.witness, "fanout"),
            self._asking.exists(self._new.queue_witness, "fanout"),
        )

    def _is_unbound(self) -> bool:
        """Return whether the API shows no binding; False where it cannot be asked."""
        if self._broker.management is None:
            return False
        with suppress(BrokerUnavailable):
            return not self._broker.management.is_bound(self._new.live.name, self._new.exchange)
        return False
