"""SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHOW_CURSOR = b"\x1b[?25h"
"""A bar may have hidden it."""


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """While inside: call `stop` on the first signal. The old handlers come back afterwards."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked
        if asked:
            if os.isatty(2):
                os.write(2, SHOW_CURSOR)
            # Not the default action: process 1 of a container ignores signals that have no handler.
            os._exit(128 + number)
        asked = True
        stop()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
