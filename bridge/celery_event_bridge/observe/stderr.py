"""Standard error that ends and holds up nobody: a full disk under a log, a reader that is gone or that stands still."""

from __future__ import annotations

import atexit
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from typing import TextIO

from celery_event_bridge.contract.deadline import Deadline

MOST = 2**20
"""Bytes that are kept for a reader who stands still; lines on top of that are dropped, and counted."""
AT_ONCE = select.PIPE_BUF
"""Bytes that a pipe takes without blocking, once it is said to be writable (POSIX)."""
LAST = 1.0
"""Seconds, at the end of the process, for what is kept still."""


class Unfailing:
    """A stream that takes lines, and never raises nor blocks. Safe to use from several threads."""

    def __init__(self, stream: TextIO, dropped: Callable[[int], str], most: int = MOST) -> None:
        """`dropped` makes the line that says how many could not be kept."""
        self._most = most
        self._stream = stream
        self._dropped = dropped
        self._descriptor = _descriptor_that_may_block(stream)
        self._lock = threading.Lock()
        self._line = ""
        """Beginning of a line that is not at its end."""
        self._kept = bytearray()
        self._too_many = 0
        self._writer: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Write, now or once it is possible, or not at all."""
        if self._descriptor is None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                pass
            return len(text)
        with self._lock:
            self._line += text
            if self._line.endswith("\n"):
                line, self._line = self._line.encode("utf-8", "backslashreplace"), ""
                self._keep(line)
        return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        if self._descriptor is None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                pass

    def _keep(self, line: bytes) -> None:
        if self._kept and len(self._kept) + len(line) > self._most:
            self._too_many += 1
            return
        self._kept += line
        self._pass_on()
        if self._kept and self._writer is None:
            self._writer = threading.Thread(target=self._wait, name="stderr", daemon=True)
            self._writer.start()
            atexit.register(self._finish)

    def _pass_on(self) -> None:
        """Write what can be written without waiting."""
        assert self._descriptor is not None
        while self._kept and _may_write(self._descriptor, 0):
            try:
                written = os.write(self._descriptor, self._kept[:AT_ONCE])
            except BlockingIOError:  # by who shares it, and has made it so
                return
            except OSError:  # nobody will ever read it
                self._kept.clear()
                return
            del self._kept[:written]
            if not self._kept and self._too_many:
                self._kept += self._dropped(self._too_many).encode()
                self._too_many = 0

    def _wait(self) -> None:
        assert self._descriptor is not None
        while True:
            _may_write(self._descriptor, 1000)
            with self._lock:
                self._pass_on()
                if not self._kept:
                    self._writer = None
                    return

    def _finish(self) -> None:
        atexit.unregister(self._finish)
        deadline = Deadline(LAST)
        while self._kept and not deadline.passed:
            time.sleep(0.02)


def _may_write(descriptor: int, milliseconds: int) -> bool:
    """Wait, for so long at most, until a write would not block, or would fail."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(milliseconds))


def _descriptor_that_may_block(stream: TextIO) -> int | None:
    """Return the file descriptor of a pipe, a socket or a terminal; None of anything else."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or none of the system's
        return None
    return descriptor if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor) else None
