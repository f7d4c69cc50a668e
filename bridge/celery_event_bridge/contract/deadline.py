"""A deadline that is carried through a whole call, however many pieces it is made of and however they trickle in."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """A moment by the monotonic clock after which a call is given up.

    A time-out given to each `recv` in turn is none for the call: a peer that sends one byte every two seconds keeps
    each of them and never ends. So one of these is made where the call begins, and each piece gets what is left.
    """

    __slots__ = ("_at", "_clock")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left, 0.0 once it has passed."""
        return max(0.0, self._at - self._clock())

    @property
    def passed(self) -> bool:
        """Return whether nothing is left."""
        return self._clock() >= self._at

    def extend(self, seconds: float) -> None:
        """Put it off, if need be, until so many seconds from now: what it waits for goes on."""
        self._at = max(self._at, self._clock() + seconds)

    def timeout(self) -> float:
        """Return the seconds that are left, for a socket's time-out. Raises TimeoutError once it has passed."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return left
