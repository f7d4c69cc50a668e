"""Messages whose properties py-amqp cannot read: they are delivered all the same.

RabbitMQ passes on what a publisher has put into headers, also what py-amqp fails on: a timestamp beyond the calendar,
text that is not UTF-8. Its error ends the connection, the message comes again, and no replica gets past it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from amqp import spec
from amqp.exceptions import AMQPError, FrameSyntaxError
from amqp.method_framing import frame_handler
from amqp.serialization import PROPERTY_CLASSES

from celery_event_bridge.brokers.parked_message import OURS

HEADER_FRAME = 2
PREFIX = 12
"""Bytes of a content header before its properties: class, weight, size of the body."""
CONTENT_TYPE, CONTENT_ENCODING, HEADERS = 0x8000, 0x4000, 0x2000
"""Flags of the properties, which follow in this order."""
MORE_FLAGS = 0x0001
"""More flags follow, of properties that AMQP does not have."""
UNREADABLE = f"{OURS}unreadable-properties"
"""The header that stands in for them: their bytes."""
LONGEST = 64 * 1024
"""Bytes of them that are kept; so many that a frame takes them with what parking adds."""

Frame = tuple[int, int, Any]


def tolerant_frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Frame], bool]:
    """py-amqp's own, that goes on where properties cannot be read."""
    handle: Callable[[Frame], bool] = frame_handler(connection, callback)

    def on_frame(frame: Frame) -> bool:
        if frame[0] != HEADER_FRAME:
            return handle(frame)
        kind, channel, payload = frame
        size = struct.unpack_from(">Q", payload, 4)[0]
        if not size:
            # Then the message is whole, and its callback is called in there, whose errors are not ours to hide.
            return handle((kind, channel, _readable(payload)))
        try:
            return handle(frame)
        except FrameSyntaxError:  # of a table in the properties; a frame out of its order is an UnexpectedFrame
            return handle((kind, channel, _without_properties(payload)))
        except AMQPError:
            raise
        except Exception:  # noqa: BLE001 - whatever its parser stumbles over
            return handle((kind, channel, _without_properties(payload)))

    return on_frame


def legible_names(method: tuple[int, int], payload: Any) -> Any:
    """Return the arguments of a delivery, of either kind, with `?` for what is no UTF-8 in exchange and routing key.

    Others, and those that are text, are returned as they are.
    """
    if method == spec.Basic.Deliver:
        position = 4 + 1 + payload[4] + 8 + 1  # class and method, consumer tag, delivery tag, redelivered
    elif method == spec.Basic.GetOk:
        position = 4 + 8 + 1
    else:
        return payload
    body = bytearray(payload)
    for _ in range(2):
        end = position + 1 + body[position]
        name = bytes(body[position + 1 : end])
        try:
            name.decode()
        except UnicodeDecodeError:
            body[position + 1 : end] = bytes(byte if byte < 0x80 else 0x3F for byte in name)
        position = end
    return payload if body == payload else bytes(body)


def _readable(payload: Any) -> Any:
    try:
        PROPERTY_CLASSES[spec.Basic.CLASS_ID](payload, PREFIX)
    except Exception:  # noqa: BLE001 - as above
        return _without_properties(payload)
    return payload


def _without_properties(payload: Any) -> bytes:
    """Return the content header with content type and encoding alone, and the bytes of all properties as one header."""
    raw = bytes(payload)
    flags = int.from_bytes(raw[PREFIX : PREFIX + 2], "big")
    position, kept_flags, kept = PREFIX + 2, HEADERS, b""
    for flag in (CONTENT_TYPE, CONTENT_ENCODING) if not flags & MORE_FLAGS else ():
        if not flags & flag:
            continue
        length = 1 + sum(raw[position : position + 1])
        text = raw[position : position + length]
        position += length
        if len(text) == length and text.isascii():
            kept_flags |= flag
            kept += text
    name = UNREADABLE.encode()
    properties = raw[PREFIX : PREFIX + LONGEST]
    field = bytes([len(name)]) + name + b"x" + struct.pack(">I", len(properties)) + properties
    return raw[:PREFIX] + struct.pack(">H", kept_flags) + kept + struct.pack(">I", len(field)) + field
