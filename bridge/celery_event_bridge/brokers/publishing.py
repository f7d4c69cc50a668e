"""An event as Celery's dispatcher publishes it where it is alone in its message, by any transport. Pure."""

from __future__ import annotations

from celery_event_bridge.contract import JSON, Event
from celery_event_bridge.forward.decode import UNKNOWN_SOURCE


def routing_key(event: Event) -> str:
    """`task.succeeded`."""
    return event.type.replace("-", ".")


def headers(event: Event) -> dict[str, str]:
    """Headers that the dispatcher writes."""
    return {} if event.source == UNKNOWN_SOURCE else {"hostname": event.source}


def content_encoding(content_type: str) -> str:
    """Return what kombu's serializer of that content type calls its encoding."""
    return "utf-8" if content_type == JSON else "binary"
