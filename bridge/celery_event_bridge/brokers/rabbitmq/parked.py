"""The parking queue as a person handles it: look at what was parked, and why; send it again; throw it away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import amqp
import msgspec
from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.parked_message import OURS, id_of, readable_in
from celery_event_bridge.brokers.rabbitmq.arguments import queue_type
from celery_event_bridge.brokers.rabbitmq.connection import abandon, ask, connect_to_any, translated
from celery_event_bridge.brokers.rabbitmq.destination import Destination, why_lost
from celery_event_bridge.brokers.rabbitmq.headers import without_brokers_own
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.resending import Resending
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import Content, Parked
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.values import as_text, counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.settings import Settings

OWN_GETS, PAUSE = 2.0, 0.05
"""Seconds for which our own gets may count as a consumer, and between two looks."""
BACK = "they can be listed, sent again and purged once they are given back"
NOT_FOUND, NOT_IMPLEMENTED = 404, 540
OF_PARKING = (f"{OURS}reason", f"{OURS}error", f"{OURS}parked-at")
"""Headers that a message loses when it is sent again; where it was published first it keeps."""


class ParkedMessage(msgspec.Struct, frozen=True):
    """Message that was parked."""

    id: str
    """12 hex digits, of the body and when it was parked: the same each time it is looked at."""
    parked_at: str
    """RFC 3339, UTC."""
    reason: str
    error: str
    exchange: str
    """Exchange that it was published to first."""
    routing_key: str
    content_type: str
    size: int
    """Bytes of the body."""
    events: tuple[str, ...]
    """Types of the events in it that can be read, at most ten."""
    hostname: str


class ParkingQueue:
    """Return what is in it, taken without acknowledging: it all goes back, in order, unless it is dealt with."""

    def __init__(self, connection: amqp.Connection, topology: Topology, management: Management | None = None) -> None:
        self._connection = connection
        self._management = management
        self._came = False
        """True once a message was there."""
        self._topology = topology
        self._name = topology.rejected.name

    def contents(self) -> Iterator[Content]:
        """Each message once; one at a time is in memory. Raises BrokerUnavailable."""
        with self._channel() as channel:
            for content, _ in self._taken(channel):
                yield content

    def requeue(self, wanted: Callable[[Parked], bool]) -> int:
        """Send messages to the live queue again and take them out of here once it has confirmed them, and keeps them.

        Not to Celery's exchange, where others would get them twice. Returns how many. Raises BrokerUnavailable, before
        anything is sent where the live queue would lose it; then what was not confirmed is still here.
        """
        with self._channel() as channel:
            resending: Resending | None = None
            # As many as there were: what a bridge parks again in the meantime comes after them.
            for content, tag in islice(self._taken(channel), self._depth()):
                if wanted(content.parked):
                    resending = resending or self._resending(channel)
                    resending.put(AmqpMessage(content.body, **_as_it_was(content)), tag)
            return resending.finish() if resending else 0

    def _resending(self, channel: amqp.Channel) -> Resending:
        """Begin. Raises BrokerUnavailable where what is sent would be lost; what was taken so far goes back."""
        if text := why_lost(self._connection, self._management, self._topology):
            raise BrokerUnavailable(f"{text}. Nothing was taken out of queue {self._name}")
        live, overflow = self._topology.live.name, self._topology.overflow
        target = Destination(self._connection, live, (overflow.name,) if overflow else ())
        return Resending(channel, self._name, target)

    def purge(self, wanted: Callable[[Parked], bool]) -> int:
        """Throw messages away. Returns how many. Raises BrokerUnavailable."""
        gone = 0
        with self._channel() as channel:
            for content, tag in self._taken(channel):
                if wanted(content.parked):
                    channel.basic_ack(tag)
                    gone += 1
        return gone

    def in_hand(self) -> str:
        """Return a line on messages that others have taken and not acknowledged, which nobody else gets meanwhile.

        Empty if there are none. Raises BrokerUnavailable.
        """
        gone = Deadline(OWN_GETS)
        while (consumers := self._consumers()) and not gone.passed:
            time.sleep(PAUSE)  # a quorum queue counts who gets a message as one, until it has seen to the rest
        if consumers is None:
            return ""  # no such queue
        try:
            found = (self._management.queue(self._name) or {}) if self._management else {}
        except BrokerUnavailable as exc:
            return f"messages of queue {self._name} in somebody's hand cannot be seen: {exc}"
        if (count := found.get("messages_unacknowledged")) is not None:
            return f"{count} messages of queue {self._name} are in somebody's hand: {BACK}" if count else ""
        if consumers:
            return (
                f"queue {self._name} has {counted(consumers, 'consumer')}: how many messages they have in hand "
                f"cannot be seen without BRIDGE_MANAGEMENT_URL; {BACK}"
            )
        with translated():
            if self._came or queue_type(self._connection, self._name) == "quorum":
                return ""
        return f"messages of queue {self._name} in somebody's hand cannot be seen without BRIDGE_MANAGEMENT_URL"

    def _consumers(self) -> int | None:
        try:
            found = ask(self._connection, lambda channel: channel.queue_declare(self._name, passive=True))
        except BrokerUnavailable as exc:
            if exc.code == NOT_FOUND:
                return None
            raise
        return int(found.consumer_count)

    @contextmanager
    def _channel(self) -> Iterator[amqp.Channel]:
        with translated(f"looking at {self._name}"):
            channel = self._connection.channel()
            channel.auto_decode = False
            yield channel
            channel.close()  # what was not acknowledged goes back

    def _depth(self) -> int:
        """Return the number of them. Raises BrokerUnavailable where there is no such queue."""
        try:
            found = ask(self._connection, lambda channel: channel.queue_declare(self._name, passive=True))
        except BrokerUnavailable as exc:
            raise (self._absent() if exc.code == NOT_FOUND else exc) from exc
        return int(found.message_count)

    def _absent(self) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"there is no queue {self._name}: are the broker's URL, its vhost and BRIDGE_QUEUE those of the bridge? "
            "Declare it with `celery-event-bridge queues declare`, as `run` does",
            NOT_FOUND,
        )

    def _taken(self, channel: amqp.Channel) -> Iterator[tuple[Content, int]]:
        while (message := self._get(channel)) is not None:
            self._came = True
            properties = dict(message.properties)
            headers = properties.pop("application_headers", None) or {}
            body = bytes(message.body or b"")
            yield Content(_summary(body, properties, headers), properties, headers, body), message.delivery_tag

    def _get(self, channel: amqp.Channel) -> Any:
        """Return the next one, or None. Raises BrokerUnavailable where there is no such queue."""
        try:
            return channel.basic_get(self._name)
        except Exception as exc:
            code = getattr(exc, "reply_code", 0)
            if code == NOT_FOUND:
                raise self._absent() from exc
            if code == NOT_IMPLEMENTED:
                raise BrokerUnavailable(
                    f"queue {self._name} was declared by somebody as a stream, which hands out no single message: "
                    "nothing is taken out of it; read it with a client of streams, then delete it, and a bridge "
                    "declares it anew"
                ) from exc
            raise


@contextmanager
def parking_queue(settings: Settings) -> Iterator[ParkingQueue]:
    """Yield the parking queue of the first broker that answers. Raises BrokerUnavailable."""
    connection, _ = connect_to_any(settings, role="rejected")
    try:
        management = Management(settings) if settings.management_url else None
        yield ParkingQueue(connection, Topology.from_settings(settings), management)
    finally:
        abandon(connection)


def _summary(body: bytes, properties: Mapping[str, Any], headers: Mapping[str, Any]) -> ParkedMessage:
    def text(name: str) -> str:
        return as_text(headers.get(OURS + name, ""))

    parked_at = text("parked-at")
    content_type = str(properties.get("content_type") or "")
    types, hostname = readable_in(body, content_type, headers)
    return ParkedMessage(
        id=id_of(body + parked_at.encode()),
        parked_at=parked_at,
        reason=text("reason"),
        error=text("error"),
        exchange=text("exchange"),
        routing_key=text("routing-key"),
        content_type=content_type,
        size=len(body),
        events=types,
        hostname=hostname,
    )


def _as_it_was(content: Content) -> dict[str, Any]:
    """Return a message's properties, without what parking has added.

    `user_id` and `CC` stay headers: the first would have it refused, the second copied elsewhere.
    """
    properties = dict(content.properties)
    headers = {name: value for name, value in without_brokers_own(content.headers).items() if name not in OF_PARKING}
    if (expiration := headers.pop(f"{OURS}expiration", None)) is not None:
        properties["expiration"] = expiration
    return properties | {"application_headers": headers}
