"""An event as Celery publishes it where it is alone in its message. Pure."""

from __future__ import annotations

from typing import Any

from celery_event_bridge.brokers.publishing import content_encoding, headers
from celery_event_bridge.contract import Event

LONGEST_NAME = 255
"""Bytes of a routing key, by AMQP."""


def properties(event: Event) -> dict[str, Any]:
    """Properties of a single event from Celery: kombu's for its serializer, and the dispatcher's own."""
    return {
        "content_type": event.content_type,
        "content_encoding": content_encoding(event.content_type),
        "application_headers": headers(event),
        "delivery_mode": 1,
        "priority": 0,
    }


def unfit(event: Event) -> str | None:
    """Reason why AMQP cannot carry it: a type from a list of Celery's never was a routing key."""
    try:
        event.source.encode()
        if len(event.type.encode()) <= LONGEST_NAME:
            return None
    except UnicodeEncodeError:
        return "its type or host name is no text that AMQP can carry"
    return f"its type is longer than the {LONGEST_NAME} bytes of a routing key"
