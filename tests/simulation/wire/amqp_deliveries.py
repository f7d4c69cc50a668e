"""Deliveries as RabbitMQ writes them: an event as Celery publishes it, with its death where it came from overflow."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.simulation.messages import Published
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import Entry
from tests.simulation.scheduler import EPOCH
from tests.simulation.wire import amqp_frames as amqp
from tests.simulation.wire.amqp_frames import Content

if TYPE_CHECKING:
    from tests.simulation.wire.amqp_channel import AmqpChannel

ODD_KEY, ODD_HEADERS = 61, 37
"""Each so manyth message has a routing key that is no text, or headers that no client can read."""
NUMBER = "number"
"""Header of a message that nothing in it can be known by."""


def deliveries(channel: AmqpChannel, first: int, entries: list[Entry]) -> Iterator[bytes]:
    """Yield the frames of these, from that tag on."""
    for tag, entry in enumerate(entries, first):
        yield amqp.method(
            channel.number,
            (amqp.BASIC, 60),
            "sQBss",
            channel.consumer,
            tag,
            int(entry.returned),
            *_way(entry),
        )
        yield from amqp.content(channel.number, _content(entry), channel.connection.frame_max)


def got(channel: AmqpChannel, tag: int, entry: Entry, left: int) -> Iterator[bytes]:
    """Yield the frames of one that was asked for."""
    yield amqp.method(channel.number, (amqp.BASIC, 71), "QBssI", tag, int(entry.returned), *_way(entry), left)
    yield from amqp.content(channel.number, _content(entry), channel.connection.frame_max)


def _way(entry: Entry) -> tuple[str, str]:
    """Return exchange and routing key."""
    return ("", entry.queue.name) if entry.expired or entry.properties is not None else ("celeryev", _key(entry))


def _key(entry: Entry) -> str:
    if entry.message.number % ODD_KEY == 0:
        return "task.\udcff"
    return "task.multi" if entry.message.body.startswith(b"[") else "task.started"


def look_at(message: Published, what: Content) -> None:
    """Raise Broken where a command sends a message on with other properties than its worker gave it."""
    if message.number % ODD_HEADERS == 0:
        return  # its headers could not be read
    headers = {name: value for name, value in amqp.headers_of(what.properties).items() if name in message.headers}
    if headers != message.headers or amqp.content_type_of(what.properties) != message.content_type:
        raise Broken(f"changed: message {message.number} was sent on with {headers}")


def _content(entry: Entry) -> Content:
    message = entry.message
    added: dict[str, Any] = {}
    if entry.returned:
        added["x-delivery-count"] = 1
    if entry.expired:
        died = datetime.datetime.fromtimestamp(int(EPOCH + entry.arrived), datetime.UTC)
        added["x-death"] = [
            {
                "count": 1,
                "exchange": "celeryev",
                "queue": entry.queue.name.removesuffix(".overflow"),
                "reason": "expired",
                "routing-keys": [_key(entry)],
                "time": died,
            }
        ]
    if entry.properties is not None:
        return Content(amqp.with_headers(entry.properties, added), message.body)
    headers = {**message.headers, **({NUMBER: message.number} if message.junk else {}), **added}
    if message.number % ODD_HEADERS == 0 and not message.junk:
        # A timestamp beyond the calendar: the client cannot read these properties.
        raw = amqp.properties(
            message.content_type, {**headers, "odd": datetime.datetime.fromtimestamp(0, datetime.UTC)}
        )
        return Content(raw.replace(b"\x03oddT" + bytes(8), b"\x03oddT" + b"\x7f" * 8), message.body)
    return Content(amqp.properties(message.content_type, headers), message.body)
