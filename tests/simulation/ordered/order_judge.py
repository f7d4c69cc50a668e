"""Judge of an order: of each worker, what is in the stream the first time is what was published, in that order."""

from __future__ import annotations

from collections import deque

from tests.simulation.messages import Published
from tests.simulation.promises import Broken


class Order:
    """Hears of what a queue takes, and of what is stored."""

    def __init__(self) -> None:
        self._due: dict[str, deque[str]] = {}
        """By worker, its events that are not stored yet, in order."""
        self._workers: dict[str, str] = {}
        """Workers of the events that are not stored yet, by their ids."""

    def taken(self, message: Published) -> None:
        """Take note of a message that has its place now."""
        worker = message.headers.get("hostname", "")
        due = self._due.setdefault(worker, deque())
        for event in message.events:
            if event not in message.poisoned:
                due.append(event)
                self._workers[event] = worker

    def stored(self, event: str) -> None:
        """Judge a record. Raises Broken where an earlier event of the same worker is not in the stream."""
        if (worker := self._workers.pop(event, None)) is None:
            return  # it is there already
        due = self._due[worker]
        if (first := due.popleft()) != event:
            raise Broken(f"overtaken: {event} of {worker} is stored before {first}, which was published before it")
