"""Message as RabbitMQ has delivered it, with what parking needs beside what the relay needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_event_bridge.contract.broker import Message


class Delivered(Message, frozen=True, eq=False, gc=False):
    """Message with its properties and whence it came."""

    properties: Mapping[str, Any] = {}
    """All properties as received, headers included."""
    exchange: str = ""
    routing_key: str = ""
