"""Frames of the log that SQLite counts on, and whether the log holds them still.

The index tells how many frames of the log count, and the checksum of the last one, which covers all before it. SQLite
itself never looks: a log that somebody has emptied or written over under it is written on behind the hole, and what
was in it is gone, or is read as whatever is there now. Shapes: https://www.sqlite.org/walformat.html, 1.1 and 2.1.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from typing import NamedTuple

from celery_event_sinks.sqlite.leftovers import Place
from celery_event_sinks.sqlite.log import Header

HEADER = struct.Struct("=I8x?xHI4xII8s8x")
"""Copy of the index's header, which it has twice: version, whether it is filled, size of a page, number of frames, the
two checksums of the last one, salt. In the machine's order; the salt as it is in the log."""
VERSION = 3007000
CHECKED = struct.Struct(">8sII")
"""Last 16 of the 24 bytes before a frame's page: salt and checksums."""
LOG_HEADER, FRAME_HEADER = 32, 24
TRIES, PAUSE = 20, 0.001
"""Looks, and seconds between two, until nobody writes meanwhile."""


class Last(NamedTuple):
    """Last frame that counts."""

    salt: bytes
    at: int
    """Byte of the log at which its salt begins."""
    checked: bytes
    """Salt and checksums that have to be there."""


class Frames:
    """Index and log of one file that is open.

    The index is read by SQLite's own descriptor: with the closing of another one, all locks of this process are gone.
    """

    def __init__(self, index: Place | None, log: Header) -> None:
        self._place = index
        self._index = _descriptor(index)
        self._log = log
        self._last: Last | None = None
        """Last frame at the last look."""

    def there(self) -> bool:
        """Tell whether the log holds what counts; also where nothing does, and where that cannot be looked at."""
        for _ in range(TRIES):
            found = self._found()
            half = found[: HEADER.size]
            if half == found[HEADER.size :]:
                last = _last(half)
                if last is None or (self._holds(last) and self._holds_the_one_before(last.salt)):
                    self._last = last
                    return True
                if found == self._found() and _place(self._index) == self._place:
                    return False
            time.sleep(PAUSE)  # somebody writes
        return True

    def _found(self) -> bytes:
        """Both copies of the index's header; empty where there is none to be read."""
        try:
            return os.pread(self._index, 2 * HEADER.size, 0)
        except OSError:
            return b""

    def _holds(self, frame: Last) -> bool:
        return self._log.read(frame.at, CHECKED.size) == frame.checked or not self._log.opened

    def _holds_the_one_before(self, salt: bytes) -> bool:
        """Return whether the last frame of the look before is as it was: behind a hole the last one alone would be."""
        before = self._last
        return before is None or before.salt != salt or self._holds(before)


def _last(half: bytes) -> Last | None:
    """Last frame by the index's header; None where none counts, or the header is none that we know."""
    if len(half) < HEADER.size:
        return None
    version, filled, size, number, first, second, salt = HEADER.unpack(half)
    if version != VERSION or not filled or not number:
        return None
    page = (size & 0xFE00) | ((size & 1) << 16)  # 65,536 does not fit, and is 1
    at = LOG_HEADER + (number - 1) * (FRAME_HEADER + page) + FRAME_HEADER - CHECKED.size
    return Last(salt, at, CHECKED.pack(salt, first, second))


def _descriptor(wanted: Place | None) -> int:
    """Return a descriptor of this process's by what it leads to; -1 where there is none, or no list of them."""
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, not paths
            if wanted is not None and _place(int(name)) == wanted:
                return int(name)
    return -1


def _place(descriptor: int) -> Place | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
