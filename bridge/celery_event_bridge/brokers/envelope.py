"""A message as kombu writes it where the broker has no messages of its own: a JSON envelope, the body in base64."""

from __future__ import annotations

import binascii
import uuid
from collections.abc import Hashable, Mapping
from typing import Any

import msgspec

from celery_event_bridge.brokers.publishing import content_encoding
from celery_event_bridge.contract.broker import Message

BASE64 = "base64"
"""Value of `body_encoding`, the only one that kombu writes beside none."""


class Heard(Message, frozen=True, eq=False, gc=False):
    """A message as it came in its envelope: by PUB/SUB, out of a folder, or through a transport of kombu."""

    routing_key: str = ""
    raw: bool = False
    """True where the body is all that was published, as it is no envelope."""


class _Info(msgspec.Struct):
    routing_key: str = ""


class _Properties(msgspec.Struct):
    body_encoding: str | None = None
    delivery_info: _Info = msgspec.field(default_factory=_Info)


class _Envelope(msgspec.Struct, rename={"content_type": "content-type"}):
    body: str
    content_type: str | None = ""
    headers: dict[str, Any] | None = None
    properties: _Properties = msgspec.field(default_factory=_Properties)


_DECODE = msgspec.json.Decoder(_Envelope).decode
_NONE: Mapping[str, Any] = {}


def opened(payload: bytes, lane: Hashable, tag: int) -> Heard:
    """Return the message in an envelope; anything else is all body, which nothing can decode, and is parked so."""
    try:
        envelope = _DECODE(payload)
        properties = envelope.properties
        text = envelope.body
        body = binascii.a2b_base64(text, strict_mode=True) if properties.body_encoding == BASE64 else text.encode()
    except (ValueError, RecursionError):  # msgspec's errors and binascii's are ValueErrors
        return Heard(lane, tag, payload, "", _NONE, raw=True)
    return Heard(
        lane,
        tag,
        body,
        envelope.content_type or "",
        envelope.headers or _NONE,
        routing_key=properties.delivery_info.routing_key,
    )


def sealed(body: bytes, content_type: str, headers: Mapping[str, Any], exchange: str, routing_key: str) -> bytes:
    """Return an envelope as kombu writes it."""
    return msgspec.json.encode(
        {
            "body": binascii.b2a_base64(body, newline=False).decode(),
            "content-encoding": content_encoding(content_type),
            "content-type": content_type,
            "headers": dict(headers),
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": BASE64,
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
