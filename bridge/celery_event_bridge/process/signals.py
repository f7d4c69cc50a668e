"""SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHOW_CURSOR = b"\x1b[?25h"
"""A bar may have hidden it."""
GRACE = 1.0
"""Seconds, after those that a stop may take, until it is cut off."""


@contextmanager
def stopping(
    stop: Callable[[], None], within: float | None = None, cut_off: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Call `stop` on the first signal while inside. The old handlers come back afterwards.

    With `within`, a stop that has not ended after that many seconds and GRACE is cut off: `cut_off` is called, from
    another thread, and the process ends with 0. Every call has a deadline of its own; this is for the one that hangs
    all the same, in a library or in the kernel. A replica may be killed at any instant, so nothing is lost by it.
    """
    asked = False
    # Not an Event: a second signal within its `set` would wait for the lock that the first one holds.
    go = threading.Lock()
    go.acquire()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked
        if asked:
            if os.isatty(2):
                os.write(2, SHOW_CURSOR)
            # Not the default action: process 1 of a container ignores signals that have no handler.
            os._exit(128 + number)
        asked = True
        with suppress(RuntimeError):  # released by a signal within this one
            go.release()
        stop()

    def watch(seconds: float) -> None:
        go.acquire()
        if not over.wait(seconds + GRACE):
            try:
                cut_off()
            finally:
                os._exit(0)

    over = threading.Event()
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    if within is not None:
        threading.Thread(target=watch, args=(within,), name="stop", daemon=True).start()
    try:
        yield
    finally:
        if not asked:  # else it is on until the process has ended: what ends with it may hang as well
            over.set()
        for number, handler in before.items():
            signal.signal(number, handler)
