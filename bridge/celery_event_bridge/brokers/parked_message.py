"""A parked message, of brokers that know its routing key and no exchange."""

from __future__ import annotations

import msgspec

ID_BYTES = 6
"""Bytes of an id."""


class ParkedMessage(msgspec.Struct, frozen=True):
    """Message that was parked; see the protocol `celery_event_bridge.contract.broker_plugin.Parked`."""

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
