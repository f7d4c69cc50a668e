"""SIGTERM, SIGINT and SIGHUP: the first asks for a clean stop, the second ends the process at once.

The same one again within REPEAT is no second one: who sends it to the process and to its group, as GNU `timeout` does,
would end at once what it asks to stop.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from celery_event_bridge.contract.deadline import Deadline

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The last one comes where a terminal or a session ends; `nohup` has it ignored, and so it stays."""
SHOW_CURSOR = b"\x1b[?25h"
"""A bar may have hidden it."""
GRACE = 1.0
"""Seconds, after those that a stop may take, until it is cut off."""


REPEAT = 0.25
"""Seconds in which the same signal is the same request: `timeout` sends it to the process, and then to its group."""


class _Asked:
    """First request to stop; another one ends the process at once, but for the same one sent again within a moment."""

    def __init__(self) -> None:
        self._number = 0
        self._at = 0.0

    def again(self, number: int) -> bool:
        """Take note of a signal; return whether it is another request."""
        if not self._number:
            self._number, self._at = number, time.monotonic()
            return False
        return number != self._number or time.monotonic() - self._at > REPEAT


class _Watch:
    """Thread that learns of signals from the kernel's handler, also while Python's cannot run."""

    def __init__(self, within: float, cut_off: Callable[[], None]) -> None:
        self._within = within
        self._cut_off = cut_off
        self._numbers, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        threading.Thread(target=self._run, name="stop", daemon=True).start()

    def end(self) -> None:
        """Let go of the signals; the thread ends."""
        signal.set_wakeup_fd(self._before)
        os.close(self._wake)

    def _run(self) -> None:
        asked = _Asked()
        if (number := self._next()) is None:
            os.close(self._numbers)
            return
        asked.again(number)
        deadline = Deadline(self._within + GRACE)
        poller = select.poll()
        poller.register(self._numbers, select.POLLIN)
        while (left := deadline.left()) > 0:
            if poller.poll(left * 1000) and (number := self._next()) is not None and asked.again(number):
                _end(number)
        try:
            self._cut_off()
        finally:
            os._exit(0)

    def _next(self) -> int | None:
        """Wait for a signal of ours; None at the end."""
        while read := os.read(self._numbers, 1):
            if read[0] in SIGNALS:
                return read[0]
        return None


def _end(number: int) -> None:
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    # Not the default action: process 1 of a container ignores signals that have no handler.
    os._exit(128 + number)


@contextmanager
def stopping(
    stop: Callable[[], None], within: float | None = None, cut_off: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Call `stop` on the first signal while inside. The old handlers come back afterwards.

    With `within`, a stop that has not ended after that many seconds and GRACE is cut off: `cut_off` is called, from
    another thread, and the process ends with 0. Every call has a deadline of its own; this is for the one that hangs
    all the same, in a library or in the kernel, where no handler runs: a name server that does not answer, say. A
    replica may be killed at any instant, so nothing is lost by it.
    """
    asked, requests = False, _Asked()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked
        if requests.again(number):
            _end(number)
        if not asked:
            asked = True
            stop()

    before = {
        number: signal.signal(number, handle) for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    }
    watch = _Watch(within, cut_off) if within is not None else None
    try:
        yield
    finally:
        if watch is not None and not asked:  # else it is on until the process has ended: that may hang as well
            watch.end()
        for number, handler in before.items():
            signal.signal(number, handler)
