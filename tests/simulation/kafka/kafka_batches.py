"""Messages of a producer, the batches in which they go, and their way into a partition."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence


class Sent:
    """A message."""

    __slots__ = ("event", "report", "timestamp", "value")

    def __init__(self, event: str, value: bytes, timestamp: int, report: Callable[..., None]) -> None:
        self.event = event
        self.value = value
        self.timestamp = timestamp
        self.report = report


class Batch:
    """Messages that go together, and again together."""

    def __init__(self, sequence: int, messages: Sequence[Sent]) -> None:
        self.sequence = sequence
        self.messages = messages
        self.tries = 0
        self.waits = False
        """True while it is on its way, or its answer is."""
        self.purged = False


class Way:
    """Way into a partition."""

    def __init__(self, topic: str, number: int) -> None:
        self.topic = topic
        self.number = number
        self.queue: deque[Sent] = deque()
        self.batches: list[Batch] = []
        """In their order, not answered."""
        self.sequence = 0
        self.unknown_since: float | None = None
