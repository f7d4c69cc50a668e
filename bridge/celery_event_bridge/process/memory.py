"""Memory that was freed, given back to the system.

glibc keeps what was freed in its heap below anything that is still in use. What an outage puts into a bridge's hands is
freed in no order, so each outage leaves gaps of its own, and the heap creeps: by 1 to 4 MiB in half an hour of faults
(docs/decisions/0016-memory.md).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0
"""Seconds from one time to the next. Once takes 0.1 to 0.3 ms, for 9 MB in use and 1 to 2 MB free between."""


@contextmanager
def giving_back(every: float = EVERY) -> Iterator[None]:
    """Give free memory back every so many seconds while inside. Does nothing where the C library is not glibc."""
    trim = _malloc_trim()
    if trim is None:
        yield
        return
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every):
            trim(0)

    thread = threading.Thread(target=work, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows takes no None
        return None
    trim.argtypes = [ctypes.c_size_t]
    return trim
