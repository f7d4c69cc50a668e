"""Headers of a message that is published once more: which go, which have another name, which cannot be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_event_bridge.brokers.parked_message import OURS

BROKERS_OWN = frozenset({"x-death", "x-delivery-count", "x-acquired-count"})
"""Headers that RabbitMQ added on the way; with `x-death` in it, a message requeued later would be taken for a cycle."""
BROKERS_BEGINNINGS = ("x-first-death-", "x-last-death-")
"""Beginnings of others that it added."""
RENAMED = {"CC": f"{OURS}cc", "BCC": f"{OURS}bcc"}
"""Headers that would send copies of the message elsewhere."""
LEFT_OFF = f"{OURS}headers-left-off"
DEEPEST = 50
"""Tables and arrays in one another that are written again. py-amqp reads some 900, and fails to write 500."""


def without_brokers_own(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the headers but those that RabbitMQ has added itself."""
    return {
        name: value
        for name, value in headers.items()
        if str(name) not in BROKERS_OWN and not str(name).startswith(BROKERS_BEGINNINGS)
    }


def writable(headers: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """Return the headers that can be written again, and the names of the others, cut to 100 characters."""
    kept = {name: value for name, value in headers.items() if not _too_deep(value)}
    return kept, [str(name)[:100] for name in headers if name not in kept]


def again(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the headers to publish a message with once more; those that cannot be written are named in one of ours."""
    kept, left = writable(headers)
    return kept | {LEFT_OFF: left[:100]} if left else kept


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []
