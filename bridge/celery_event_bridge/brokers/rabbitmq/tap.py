"""Look at the live events: by a temporary queue beside the bridge's, so that nothing is taken away from anybody.

Each of Celery's own receivers has one. It is gone with the connection, and bounded: who looks too slowly misses some.
Anybody may delete it, or the exchange, and with that the binding: both are seen to every LOOK seconds, as `Upkeep` does
for a bridge. AMQP has no question for a binding: that it was gone is known where the exchange is missing at a look, or
the management API says so, and is guessed where a silence ends right after it was made again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound

from celery_event_bridge.brokers.rabbitmq.connection import abandon, ask, connect_to_any, translated
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.lane import as_message
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

MOST_BYTES = 64 * 2**20
"""Bound of the queue; past it the oldest are dropped."""
LIVES = 30_000
"""Milliseconds that an event waits there at most."""
LOOK = 10.0
"""Seconds between two looks at the exchange and the binding."""
SILENT = 2.0
"""Seconds, at least, of a silence that a removed binding may explain."""
AT_ONCE = 1.0
"""Seconds, at most, from the new binding to the first event behind it: later ones are explained by chance as well."""
NOT_FOUND = 404


class Tap:
    """A connection of its own. Each call raises BrokerUnavailable."""

    def __init__(self, settings: Settings, *, look: float = LOOK) -> None:
        """Connect to the first URL that answers, and bind a queue to the event exchange; see to it every `look` s."""
        self._exchange = settings.event_exchange
        self._settings = settings
        self._every = look
        self._arrived: list[Delivered] = []
        self._queue = ""
        self._deleted = False
        """True once RabbitMQ has cancelled our consumer."""
        self._absent = False
        """True while the exchange is not there."""
        self._heard_at = 0.0
        """Time when the last event came; 0.0 before the first."""
        self._longest_pause = SILENT
        """The longest seconds between two events that nothing else explains."""
        self._bound_at = 0.0
        """Time when the binding was last made again, and no event has come since; 0.0 otherwise."""
        self._connection, _ = connect_to_any(settings, role="tap")
        try:
            with translated("looking at the events"):
                self._channel = self._consume(self._connection.channel())
        except BaseException:
            abandon(self._connection)
            raise
        self._due = time.monotonic() + self._every

    def messages(self, timeout: float) -> Sequence[Delivered]:
        """Return those that have arrived; wait up to so many seconds while there are none."""
        with translated("connection lost"):
            self._connection.heartbeat_tick()
            try:
                self._connection.drain_events(timeout=timeout)
            except TimeoutError:
                pass
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._heard(arrived)
        if self._deleted or time.monotonic() >= self._due:
            self._look()
        return arrived

    def close(self) -> None:
        """Disconnect; the queue goes with it. Never raises."""
        abandon(self._connection)

    def _consume(self, channel: amqp.Channel) -> amqp.Channel:
        """Declare a queue, bind and consume it; return the channel. Raises BrokerUnavailable, or as the client does."""
        exchange = self._exchange
        try:
            channel.exchange_declare(exchange, "topic", passive=True)
        except NotFound:
            raise BrokerUnavailable(
                f"exchange {exchange!r} is not there yet: a worker, or `queues declare`, makes it; or is "
                "BRIDGE_EVENT_EXCHANGE not what Celery's event_exchange says?",
                NOT_FOUND,
            ) from None
        channel.auto_decode = False
        name = f"{exchange}.tap.{uuid.uuid4().hex[:12]}"
        arguments = {"x-max-length-bytes": MOST_BYTES, "x-overflow": "drop-head", "x-message-ttl": LIVES}
        channel.queue_declare(name, exclusive=True, durable=False, auto_delete=True, arguments=arguments)
        channel.queue_bind(name, exchange, routing_key="#")
        self._queue, self._deleted = name, False
        channel.basic_consume(name, no_ack=True, callback=self._deliver, on_cancel=self._cancelled)
        return channel

    def _deliver(self, received: Any) -> None:
        self._arrived.append(as_message(received, None, expired=False))

    def _cancelled(self, _consumer: str) -> None:
        self._deleted = True

    # What others have removed -------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Bind the queue again, or make another one where it was deleted; tell of what was gone."""
        self._due = time.monotonic() + self._every
        try:
            if self._deleted:
                self._replace()
            else:
                unbound = self._is_unbound()
                ask(self._connection, self._bind, f"binding queue {self._queue}")
                self._bound(unbound=unbound)
        except BrokerUnavailable as exc:
            if exc.code != NOT_FOUND or not self._connection.connected:
                raise
            if self._exists():
                self._deleted = True  # the queue is gone: RabbitMQ does not always cancel its consumer
            else:
                self._tell_of_absent()
        else:
            self._absent = False

    def _replace(self) -> None:
        """Consume by another queue. Raises BrokerUnavailable, with NOT_FOUND where there is no exchange for it."""
        name = self._queue
        with translated("looking at the events"):
            channel = self._consume(self._connection.channel())
            self._channel.close()
        self._channel = channel
        notices.tell(
            "queue-made",
            f"queue {name!r}, by which `tap` looks, was deleted by somebody: events published meanwhile are not shown; "
            f"{self._queue!r} is in its place",
            subject=name,
        )

    def _bind(self, channel: amqp.Channel) -> None:
        channel.queue_bind(self._queue, self._exchange, routing_key="#")

    def _bound(self, *, unbound: bool) -> None:
        """Tell of a binding that was gone, if that is known; else remember when it was made."""
        now = time.monotonic()
        if self._absent or unbound:
            self._tell_of_gap("was gone, and is made again: events published meanwhile are not shown")
        else:
            self._bound_at = now

    def _heard(self, arrived: Sequence[Delivered]) -> None:
        """Take note that events have come, and tell of a silence that a removed binding may explain: a guess."""
        now = time.monotonic()
        pause = now - self._heard_at if self._heard_at else 0.0
        bound_just_now = now - self._bound_at <= AT_ONCE
        # A worker that has just started ends a silence as well.
        online = any(b"worker-online" in each.body for each in arrived)
        if bound_just_now and pause >= 1.5 * self._longest_pause and not online:
            self._tell_of_gap(
                f"was made again, and the first event for {pause:.0f} s came right after that: perhaps somebody had "
                "removed it, or made the exchange anew, and events published meanwhile are not shown; with "
                "BRIDGE_MANAGEMENT_URL it is known",
                guessed=True,
            )
        else:
            self._longest_pause = max(self._longest_pause, pause)
        self._heard_at, self._bound_at = now, 0.0

    def _tell_of_gap(self, what: str, *, guessed: bool = False) -> None:
        text = f"the binding of queue {self._queue!r} to exchange {self._exchange!r} {what}"
        kind, level = ("silence", logging.INFO) if guessed else ("gap", logging.WARNING)
        notices.tell(kind, text, subject=self._queue, level=level)

    def _tell_of_absent(self) -> None:
        if not self._absent:
            self._absent = True
            text = (
                f"exchange {self._exchange!r} was deleted: nothing comes until a worker, or `queues declare`, makes it"
            )
            notices.tell("gap", text, subject=self._exchange)

    def _exists(self) -> bool:
        try:
            ask(self._connection, lambda channel: channel.exchange_declare(self._exchange, "topic", passive=True))
        except BrokerUnavailable as exc:
            if exc.code != NOT_FOUND:
                raise
            return False
        return True

    def _is_unbound(self) -> bool:
        """Return whether the management API shows no binding; False where it cannot be asked."""
        if self._settings.management_url is None:
            return False
        try:
            return not Management(self._settings).is_bound(self._queue, self._exchange)
        except BrokerUnavailable:
            return False
