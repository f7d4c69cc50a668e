"""Clock that a loop is given, so that a test, or a simulation, can give it another one."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time in seconds, as the module `time` has it."""

    def monotonic(self) -> float:
        """Return the time by a clock that nobody sets."""

    def time(self) -> float:
        """Return the time since the epoch, by a clock that may be set."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
