"""Parking: messages that can never be forwarded go to the queue `.rejected`, whole, with the reason.

On a connection of its own, because one that has published is blocked under a memory alarm, acknowledgements
included. With publisher confirms and the mandatory flag, because the default exchange confirms what it cannot
route and drops it.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.contract.broker import BrokerUnavailable, Message, Parcel

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.config.settings import Settings

CONFIRM_TIMEOUT = 3.0
"""Seconds to wait for the confirms of one call; the loop stands still meanwhile."""
MAX_HEADER = 1000
"""Characters kept of an error; the headers of a message must fit into one frame."""
FRAME_ROOM = 64
"""Bytes of a frame that are not the content header's: the frame's own 8, and what a broker may count otherwise."""
LEFT_OFF = "x-bridge-headers-left-off"
BROKERS_OWN = frozenset({"x-death", "x-delivery-count", "x-acquired-count"})
"""Headers that RabbitMQ added on the way; with `x-death` in it, a message requeued later would be taken for a cycle."""
RENAMED = {"CC": "x-bridge-cc", "BCC": "x-bridge-bcc"}
"""Headers that would send copies of the parked message elsewhere."""


class AmqpParking:
    """See the protocol `celery_event_bridge.contract.broker.Parking`. Connects when it has something to park."""

    def __init__(self, settings: Settings, queue: str) -> None:
        self._settings = settings
        self._queue = queue
        self._urls = cycle(settings.broker_urls)
        self._connection: amqp.Connection | None = None
        self._channel: amqp.Channel | None = None
        self._blocked = False
        self._published = 0
        self._unconfirmed: set[int] = set()
        self._failure: str | None = None

    def park(self, parcels: Sequence[Parcel]) -> None:
        """Publish all and wait for the confirm of each."""
        try:
            channel = self._ready_channel()
            with translated(f"parking in {self._queue}"):
                for parcel in parcels:
                    self._publish(channel, parcel)
                self._await_confirms()
        except BrokerUnavailable:
            self.close()
            raise

    def close(self) -> None:
        """Cut the connection: all that counts has been confirmed."""
        abandon(self._connection)
        self._connection = self._channel = None

    def _ready_channel(self) -> amqp.Channel:
        if self._connection is None or self._channel is None:
            # No heartbeat: nobody would tick it while there is nothing to park.
            self._connection = connect(self._settings, next(self._urls), role="parking", heartbeat=0)
            self._connection.on_blocked = self._on_blocked
            self._connection.on_unblocked = self._on_unblocked
            self._blocked = False
            with translated("opening a channel to park"):
                channel = self._connection.channel()
                channel.confirm_select()
            channel.events["basic_ack"].add(self._on_ack)
            channel.events["basic_nack"].add(self._on_nack)
            channel.events["basic_return"].add(self._on_return)
            self._channel, self._published = channel, 0
            self._unconfirmed.clear()
        return self._channel

    def _publish(self, channel: amqp.Channel, parcel: Parcel) -> None:
        self._published += 1
        self._unconfirmed.add(self._published)
        properties = fitting(parked_properties(parcel), channel.connection.frame_max)
        message = AmqpMessage(parcel.message.body, **properties)
        channel.basic_publish(message, exchange="", routing_key=self._queue, mandatory=True)

    def _await_confirms(self) -> None:
        assert self._connection is not None
        deadline = time.monotonic() + CONFIRM_TIMEOUT
        self._failure = None
        while self._unconfirmed and self._failure is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                why = "the broker blocks publishers (a memory or disk alarm)" if self._blocked else "no confirm came"
                raise BrokerUnavailable(f"parking in {self._queue}: {why}")
            try:
                self._connection.drain_events(timeout=remaining)
            except TimeoutError:
                continue
        if self._failure is not None:
            raise BrokerUnavailable(f"parking in {self._queue}: {self._failure}")

    def _on_ack(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp calls it so
        if multiple:
            self._unconfirmed = {waiting for waiting in self._unconfirmed if waiting > tag}
        else:
            self._unconfirmed.discard(tag)

    def _on_nack(self, tag: int, multiple: bool) -> None:  # noqa: ARG002, FBT001
        self._failure = "the broker refused it"

    def _on_return(self, *_: object) -> None:
        self._failure = "the queue is not there"

    def _on_blocked(self, reason: str) -> None:  # noqa: ARG002
        self._blocked = True

    def _on_unblocked(self) -> None:
        self._blocked = False


def parked_properties(parcel: Parcel) -> dict[str, Any]:
    """The properties to park a message with: its own, and why, whence and when it was parked.

    Three would do harm and are kept in headers: `expiration` would remove it, `user_id` would have it refused,
    `CC` would copy it elsewhere.
    """
    message = parcel.message
    properties = dict(message.properties)
    exchange, routing_key = origin(message)
    # One that was parked before and sent again came from there first.
    exchange = message.headers.get("x-bridge-exchange", exchange)
    routing_key = message.headers.get("x-bridge-routing-key", routing_key)
    headers = {
        RENAMED.get(name, name): value for name, value in message.headers.items() if not _is_brokers_own(str(name))
    }
    for name in ("expiration", "user_id"):
        if (value := properties.pop(name, None)) is not None:
            headers[f"x-bridge-{name.replace('_', '-')}"] = value
    properties["application_headers"] = headers | {
        "x-bridge-reason": parcel.why.reason,
        "x-bridge-error": parcel.why.error[:MAX_HEADER],
        "x-bridge-exchange": exchange,
        "x-bridge-routing-key": routing_key,
        "x-bridge-parked-at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    }
    return properties


def fitting(properties: dict[str, Any], frame_max: int) -> dict[str, Any]:
    """With as many of the publisher's headers, largest last, as fit into the one frame that AMQP has for them.

    They filled it, or nearly, and why and whence it was parked come on top. Those left off are named in a header. A
    message that cannot be parked would come again and again.
    """
    headers = dict(properties["application_headers"])
    left: list[str] = []
    while _size(properties | {"application_headers": headers}) > frame_max - FRAME_ROOM:
        theirs = [name for name in headers if not str(name).startswith("x-bridge-")]
        if not theirs:
            break
        largest = max(theirs, key=lambda name: _size({"application_headers": {name: headers[name]}}))
        del headers[largest]
        left.append(str(largest)[:100])
        headers[LEFT_OFF] = left[:100]
    return properties | {"application_headers": headers}


def _size(properties: dict[str, Any]) -> int:
    """Bytes of a content header, without those of its frame."""
    message = AmqpMessage("", **properties)
    return len(message._serialize_properties())  # noqa: SLF001 - nobody else knows how many it writes


def origin(message: Message) -> tuple[str, str]:
    """Exchange and routing key that it was published with, also where it came through overflow."""
    deaths = message.headers.get("x-death")
    if message.expired and isinstance(deaths, list) and deaths and isinstance(deaths[-1], dict):
        first = deaths[-1]  # RabbitMQ puts the latest first
        keys = first.get("routing-keys")
        if isinstance(keys, list) and keys:
            return str(first.get("exchange", "")), str(keys[0])
    return message.exchange, message.routing_key


def _is_brokers_own(name: str) -> bool:
    return name in BROKERS_OWN or name.startswith(("x-first-death-", "x-last-death-"))
