"""A broker's event exchange as a target: each event as Celery publishes a single one, with publisher confirms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from amqp.basic_message import Message as AmqpMessage
from amqp.exceptions import AccessRefused

from celery_event_bridge.brokers.publishing import routing_key
from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.connection import abandon, ask, connect_to_any, translated
from celery_event_bridge.brokers.rabbitmq.event_message import properties, unfit
from celery_event_bridge.brokers.rabbitmq.loop_guard import refuse_loop
from celery_event_bridge.brokers.rabbitmq.topology import declare_exchange
from celery_event_bridge.contract import Event
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.contract.target import Decided

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.settings import Settings

WINDOW = 1000
WINDOW_BYTES = 8 * 1024 * 1024
"""Messages, and bytes of them, that may be unconfirmed."""
PATIENCE = 30.0
"""Seconds without the confirm of anything that is owed after which the broker counts as away."""


class BrokerTarget:
    """See the protocol `celery_event_bridge.contract.target.Target`. Connects when made."""

    def __init__(self, settings: Settings, *, again: bool) -> None:
        """Raises BrokerUnavailable, and WouldLoop unless `again`."""
        self._exchange = settings.event_exchange
        self._connection, url = connect_to_any(settings, role="replay")
        self.where = f"exchange {self._exchange} of {hide_in_url(url)}"
        self._connection.on_blocked = self._on_blocked
        self._connection.on_unblocked = self._on_unblocked
        self._blocked = ""
        self._bytes = 0
        self._decided: list[Decided] = []
        self._confirmed = 0
        self._progress_at = self._ticked_at = time.monotonic()
        try:
            if not again:
                refuse_loop(self._connection, settings, self.where)
            if settings.declare:
                self._declare()
            with translated(f"{self.where}: opening a channel"):
                self._channel = self._connection.channel()
                self._channel.auto_decode = False
                self._confirms: Confirms[tuple[int, int]] = Confirms(self._channel)
                """Each event's number and its size."""
        except BaseException:
            abandon(self._connection)
            raise

    @property
    def owed(self) -> int:
        """Published and not confirmed."""
        return len(self._confirms.waiting)

    @property
    def full(self) -> bool:
        """Also while the broker blocks publishers."""
        return self.owed >= WINDOW or self._bytes >= WINDOW_BYTES or bool(self._blocked)

    @property
    def returned(self) -> int:
        """Events that no queue was bound for."""
        return self._confirms.returned

    @property
    def received(self) -> bool:
        """Tell whether any of it went into a queue."""
        return self._confirmed > self.returned

    def put(self, number: int, event: Event) -> None:
        """Publish it, as `celery.events.EventDispatcher` does: transient, without a message id."""
        self._check()
        if (why := unfit(event)) is not None:
            self._decided.append(Decided(number, why))
            return
        message, key = AmqpMessage(event.data, **properties(event)), routing_key(event)
        if not self.owed:
            self._progress_at = time.monotonic()
        self._bytes += len(event.data)
        with translated(self._broken()):
            # Mandatory, to know what nobody has received; a receiver sees no difference.
            self._confirms.publish((number, len(event.data)), message, key, exchange=self._exchange)

    def wait(self, timeout: float) -> None:
        """Take in confirms, and keep the connection alive."""
        self._check()
        with translated(self._broken()):
            try:
                self._connection.drain_events(timeout=max(timeout, 0.001))
            except TimeoutError:
                pass
            now = time.monotonic()
            if now - self._ticked_at >= 1:
                self._ticked_at = now
                self._connection.heartbeat_tick()
        self._check()

    def take(self) -> Sequence[Decided]:
        """Return what is confirmed."""
        self._hear()
        decided, self._decided = self._decided, []
        return decided

    def close(self) -> None:
        """End in order where nothing is owed; else what is on its way means nothing any more."""
        if not self.owed and not self._confirms.refused:
            try:
                with translated():
                    self._channel.close()
                    self._connection.close()
            except BrokerUnavailable:
                pass
        abandon(self._connection)

    def _declare(self) -> None:
        """Declare as workers and receivers do, who may come later. Where this user may not, it has to be there."""
        try:
            ask(self._connection, partial(declare_exchange, name=self._exchange), f"exchange {self._exchange}")
        except BrokerUnavailable as exc:
            if exc.code != AccessRefused.code:
                raise BrokerUnavailable(f"{self.where}: {exc}", exc.code) from exc

    def _check(self) -> None:
        self._hear()
        if self._confirms.refused:
            raise BrokerUnavailable(
                f"{self.where}: it did not take an event: a queue bound to the exchange is full, or has no leader"
            )
        if not self.owed and not self._blocked:
            self._progress_at = time.monotonic()
        elif time.monotonic() - self._progress_at >= PATIENCE:
            why = self._blocked or "is it overloaded?"
            raise BrokerUnavailable(f"{self.where}: no confirm for {PATIENCE:g} s: {why}")

    def _hear(self) -> None:
        """Take what was confirmed."""
        for number, size in self._confirms.take():
            self._progress_at = time.monotonic()
            self._bytes -= size
            self._confirmed += 1
            self._decided.append(Decided(number))

    def _broken(self) -> str:
        return f"{self.where}: the connection is lost"

    def _on_blocked(self, reason: str) -> None:
        self._blocked = f"the broker blocks publishers ({reason or 'a memory or disk alarm'})"

    def _on_unblocked(self) -> None:
        self._blocked = ""
        self._progress_at = time.monotonic()
