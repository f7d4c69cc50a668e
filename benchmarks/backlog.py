"""A queue, declared by the bridge itself, and filled before anybody consumes it."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import amqp

from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.oracle import Published

EXCHANGE = "celeryev"
QUEUE = "celeryev.bridge"
SETTINGS = {"BRIDGE_QUEUE_TTL": "0", "BRIDGE_DECLARE": "false"}
"""A bridge's: no time limit, so that a backlog stays where it is, no overflow queue, and the queue is there already."""
AT_ONCE = 500
"""Messages a write."""
UNCONFIRMED = 10_000
"""So many may be under way: enough that RabbitMQ is never idle."""
LIMIT = 120.0
"""Seconds within which RabbitMQ has to confirm some of them."""
METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
BASIC, PUBLISH = 60, 40
FRAME = 8
"""Bytes of a frame beside its payload."""


def prepare(url: str) -> None:
    """The exchange and the bridge's own queues, declared by the bridge."""
    done = run_to_end("celery_event_bridge", "queues", "declare", BRIDGE_BROKER_URL=url, BRIDGE_QUEUE_TTL="0")
    assert done.returncode == 0, done.stdout + done.stderr


def fresh_queue(url: str) -> None:
    """The live queue, empty and new: what one contender left behind costs the next one nothing.

    It is a quorum queue like the bridge's own, but without the bounds that the bridge gives it: mq-bridge declares the
    queue that it reads, with no arguments at all, and RabbitMQ refuses that where the queue has any.
    """
    connection = oracle.broker(url)
    channel = connection.channel()
    channel.queue_delete(QUEUE)
    channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(QUEUE, EXCHANGE, routing_key="#")
    connection.close()


def quorum_by_default(url: str) -> bool:
    """Whether a queue that is declared without arguments is a quorum queue in this vhost."""
    fresh_queue(url)
    connection = oracle.broker(url)
    try:
        connection.channel().queue_declare(QUEUE, durable=True, auto_delete=False)
    except amqp.PreconditionFailed:
        return False
    finally:
        connection.close()
    return True


def consumers(url: str) -> int:
    """How many consume the queue now."""
    connection = oracle.broker(url)
    try:
        return int(connection.channel().queue_declare(QUEUE, passive=True).consumer_count)
    finally:
        connection.close()


def fill(url: str, messages: Iterable[Published]) -> None:
    """Publish to Celery's exchange, and return when RabbitMQ has confirmed all."""
    publisher = Publisher(url)
    waiting = iter(messages)
    while batch := list(islice(waiting, AT_ONCE)):
        publisher.publish(batch)
        publisher.wait(UNCONFIRMED)
    publisher.close()


class Publisher:
    """Writes ready frames: py-amqp's own publishing takes longer than RabbitMQ."""

    def __init__(self, url: str) -> None:
        self._connection = oracle.broker(url)
        self._channel = self._connection.channel()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.confirm_select()
        self._published = self._up_to = 0
        self._beyond: set[int] = set()
        """Those that were confirmed out of turn."""

    def publish(self, messages: Sequence[Published]) -> None:
        """All in one write."""
        data = b"".join(frames(messages, self._channel.channel_id, self._connection.frame_max))
        self._connection.transport.write(data)
        self._published += len(messages)

    def wait(self, unconfirmed: int) -> None:
        """Until no more than so many wait for their confirm. Raises TimeoutError."""
        while self._published - self._up_to - len(self._beyond) > unconfirmed:
            self._connection.drain_events(timeout=LIMIT)

    def look(self) -> None:
        """Take note of the confirms that have come."""
        while select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.drain_events(timeout=LIMIT)

    def close(self) -> None:
        """When all is confirmed."""
        self.wait(0)
        self._connection.close()

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._up_to = max(self._up_to, tag)
            self._beyond = {one for one in self._beyond if one > self._up_to}
        else:
            self._beyond.add(tag)


def frames(messages: Iterable[Published], channel: int, frame_max: int) -> Iterator[bytes]:
    """What goes over the wire for these: for each a method, a header, and its body cut into frames."""
    headers: dict[str, bytes] = {}
    for message in messages:
        key = f"{message.routing_key} {message.properties}"
        if (properties := headers.get(key)) is None:
            properties = headers[key] = amqp.Message("", **message.properties)._serialize_properties()
        names = b"".join(bytes([len(name)]) + name.encode() for name in (EXCHANGE, message.routing_key))
        yield _frame(METHOD, channel, struct.pack(">HHH", BASIC, PUBLISH, 0) + names + b"\0")
        yield _frame(HEADER, channel, struct.pack(">HHQ", BASIC, 0, len(message.body)) + properties)
        for first in range(0, len(message.body), frame_max - FRAME):
            yield _frame(BODY, channel, message.body[first : first + frame_max - FRAME])


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + END
