"""Places of the file of that name, its log and the log's index, and whether they are still those that were opened."""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from celery_event_sinks.sqlite import log
from celery_event_sinks.sqlite.frames import Frames
from celery_event_sinks.sqlite.leftovers import Place, place

SETTLED = 10**9
"""Nanoseconds after which another change to a folder surely has another modification time than the last one."""


class Places(NamedTuple):
    """The three files of that name; None where there is none."""

    file: Place | None
    log: Place | None
    shm: Place | None
    """The log's index, which those who have it open share."""


class Change(enum.Enum):
    """Change that somebody else has made."""

    FILE = "removed or replaced"
    CONTENT = "overwritten by another one"
    LOG = "without its log, which was removed or replaced"
    FRAMES = "with a log that somebody has emptied or written over"


class Whereabouts:
    """Places of the three when they were opened.

    A look costs five calls of the system. To ask for the log itself would cost more than its call: Linux gives a file a
    finer modification time, and writes it down, for the first write after each such question.
    """

    def __init__(self, asked: Path, real: Path, places: Places | None = None) -> None:
        """Begin with the name that was asked for, and the one it leads to without symbolic links; as they are now."""
        self._asked, self._real = str(asked), str(real)
        """As text: they are asked for several times a batch."""
        self._folder = str(real.parent)
        self._settled = (0, 0, 0)
        """Device, inode and modification time of the folder when log and index were known to be ours."""
        self._header = log.Header(real)
        self.places = places or self.now(asked)
        self._frames = Frames(self.places.shm, self._header)

    def now(self, path: Path) -> Places:
        """Return what there is now, the file by this name."""
        return Places(place(path), place(f"{self._real}-wal"), place(f"{self._real}-shm"))

    def salt(self) -> str:
        """Return the salt of the log, in hex; empty where there is no log, or nothing in it."""
        return self._header.salt()

    def change(self, good: Callable[[os.stat_result], bool]) -> Change | None:
        """Return what has changed, if anything; `good` judges the file's content by its state."""
        ours = self.places
        try:
            found = os.stat(self._asked)  # noqa: PTH116 - twice a batch, and pathlib's is slower
            if (found.st_dev, found.st_ino) != ours.file:
                return Change.FILE
            if not good(found):
                return Change.CONTENT
            folder = os.stat(self._folder)  # noqa: PTH116
        except OSError:  # at any moment
            return Change.FILE
        state = (folder.st_dev, folder.st_ino, folder.st_mtime_ns)
        if state == self._settled:  # no file of that folder was made, removed or renamed
            return None if self._frames.there() else Change.FRAMES
        own_log, shm = place(f"{self._real}-wal"), place(f"{self._real}-shm")
        if ours.log is None:  # there was none yet: no such journal, or nothing was read
            self.places = Places(ours.file, own_log, shm)
            self._header.close()
            self._frames = Frames(shm, self._header)
        elif own_log != ours.log or shm != ours.shm:
            return Change.LOG
        elif abs(time.time_ns() - folder.st_mtime_ns) > SETTLED:
            self._settled = state
        return None if self._frames.there() else Change.FRAMES

    def whole(self) -> bool:
        """Tell whether the log holds all that SQLite counts on."""
        return self._frames.there()

    @classmethod
    def whole_now(cls, asked: Path, real: Path) -> bool:
        """Tell the same of a file that was just opened."""
        at = cls(asked, real)
        try:
            return at.whole()
        finally:
            at.close()

    def close(self) -> None:
        """Close the log's header."""
        self._header.close()
