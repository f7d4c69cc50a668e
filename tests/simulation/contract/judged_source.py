"""Judge of a source: what it hands out was delivered on a channel that is open still."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from celery_event_bridge.contract.broker import Message, Source, is_ordered
from tests.simulation.promises import Broken


class JudgedSource:
    """In front of a source; see `celery_event_bridge.contract.broker.Source`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._closed: set[Hashable] = set()
        """Lanes that have been closed, by whatever they were named by."""
        self._open: dict[Hashable, int] = {}
        """By lane, the last tag that came on it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @property
    def ordered(self) -> bool:
        """Tell whether the source is; a protocol's test does not ask `__getattr__`, from Python 3.12 on."""
        return is_ordered(self._source)

    def poll(self, timeout: float) -> Sequence[Message]:
        """Judge each. Raises Broken where one is of a lane that is closed, or comes twice, or not in order."""
        messages = self._source.poll(timeout)
        for message in messages:
            if message.lane in self._closed or was_closed(message.lane):
                raise Broken(f"twice: delivery {message.tag} is of a channel that was closed before")
            if message.tag <= self._open.get(message.lane, 0):
                raise Broken(
                    f"twice: delivery {message.tag} comes after {self._open[message.lane]} of the same channel"
                )
            self._open[message.lane] = message.tag
        return messages

    def let_go(self) -> None:
        """Close the lanes."""
        self._close()
        self._source.let_go()

    def close(self) -> None:
        """Close the lanes and the connection."""
        self._close()
        self._source.close()

    def drop(self) -> None:
        """Close the lanes and the connection, whatever its state."""
        self._close()
        self._source.drop()

    def _close(self) -> None:
        self._closed.update(self._open)
        self._open.clear()


def was_closed(lane: Any) -> bool:
    """Return whether the plug-in has closed a lane, as it does with one of several that it hands over."""
    return getattr(lane, "leaves", False) and not lane._channel.is_open
