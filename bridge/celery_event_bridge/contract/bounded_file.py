"""A small file read within a bounded time, whatever somebody has put in its place."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path

from celery_event_bridge.contract.deadline import Deadline

PIPE_WAIT = 5.0
"""Seconds within which a pipe, as of a shell's process substitution, has to give all."""
LARGEST = 2**20
"""Bytes of a file that is read; a secret has some dozens."""
CHUNK = 65_536


def read(path: str | Path, *, may_be_pipe: bool, pipe_wait: float = PIPE_WAIT) -> bytes:
    """Return all of a regular file, or of a pipe where that may be. Never blocks for longer than `pipe_wait`.

    Raises OSError, with a `strerror` that says why.
    """
    # Else to open a pipe waits for somebody who writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) and may_be_pipe:
            return _of_pipe(descriptor, Deadline(pipe_wait))
        if stat.S_ISFIFO(mode):
            raise OSError(errno.ESPIPE, "it is a pipe, which gives its content once")
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is neither a regular file nor a pipe")
        chunks = []
        while chunk := os.read(descriptor, CHUNK):
            chunks.append(chunk)
            _bound(chunks)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _of_pipe(descriptor: int, deadline: Deadline) -> bytes:
    """Read to the end. A pipe that nobody has opened to write has no end yet, and reads as empty."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    chunks: list[bytes] = []
    while True:
        if not chunks and not poller.poll(deadline.left() * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "it is a pipe, and nothing came through it")
        try:
            chunk = os.read(descriptor, CHUNK)
        except BlockingIOError:
            if not poller.poll(deadline.left() * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "it is a pipe, and its end did not come") from None
            continue
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        _bound(chunks)


def _bound(chunks: list[bytes]) -> None:
    if sum(map(len, chunks)) > LARGEST:
        raise OSError(errno.EFBIG, f"it holds more than {LARGEST} bytes")
