"""Work that is done again and again beside the loop, which may not wait for it: each time in a thread that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Background:
    """Repetition of one thing, by one thread at a time."""

    def __init__(self, do: Callable[[], float | None], interval: float) -> None:
        """`do` never raises; it may return the seconds until the next time, where they are not `interval`."""
        self._do = do
        self._interval = interval
        self._due = 0.0
        self._thread: threading.Thread | None = None

    def run_if_due(self) -> None:
        """Begin if it is time to, and the last time has ended. Returns at once."""
        now = time.monotonic()
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = now + self._interval
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Make the next time due."""
        self._due = 0.0

    def _run(self) -> None:
        again_in = self._do()
        if again_in is not None:
            self._due = time.monotonic() + again_in
