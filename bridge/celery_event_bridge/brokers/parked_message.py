"""A parked message: what is written of why it was parked, and what is shown of it; the same for each broker."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from celery_event_bridge.contract.values import as_text
from celery_event_bridge.forward.decode import decode

OURS = "x-bridge-"
"""Beginning of the headers that parking adds to a message, where a broker keeps them there."""
MAX_ERROR = 1000
"""Characters kept of an error: the headers of an AMQP message must fit into one frame."""
ID_BYTES = 6
MOST_TYPES = 10


class ParkedMessage(msgspec.Struct, frozen=True):
    """Message of a broker that knows its routing key and no exchange; see `contract.broker_plugin.Parked`."""

    id: str
    """12 hex digits: the same each time it is looked at."""
    parked_at: str
    """RFC 3339, UTC."""
    reason: str
    error: str
    routing_key: str
    content_type: str
    size: int
    """Bytes of the body."""
    events: tuple[str, ...]
    """Types of the events in it that can be read, at most ten."""
    hostname: str


def id_of(known_by: bytes) -> str:
    """Return the id of a message, made of what a broker knows it by: the same each time it is looked at."""
    return hashlib.blake2b(known_by, digest_size=ID_BYTES).hexdigest()


def now() -> str:
    """Return the time at which a message is parked: RFC 3339, UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def readable_in(body: bytes, content_type: str, headers: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return the types of the events that can be read in a body, at most ten, and its worker's host name, if known."""
    events = decode(body, content_type, headers).events
    hostname = headers.get("hostname") or (events[0].source if events else "")
    return tuple(event.type for event in events[:MOST_TYPES]), as_text(hostname)
