"""Files beside one before it is opened: a log of another file, or an index whose log is gone."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from celery_event_bridge.contract import LOOK_INTERVAL, SinkUnavailable, notices
from celery_event_sinks.sqlite import log
from celery_event_sinks.sqlite.log import Verdict

GRACE = LOOK_INTERVAL + 2
"""Seconds in which whoever has the file open notices that its log is gone, and saves what was in it."""
Place = tuple[int, int]
"""Device and inode."""


class Leftovers:
    """Sees to it before SQLite does, which would replay that log, or delete it."""

    def __init__(self, path: Path, *, readonly: bool, logger: str, grace: float = GRACE) -> None:
        self._grace = grace
        self._path = path
        self._readonly = readonly
        self._logger = logger
        self._index_alone: tuple[Place, float] | None = None

    def settle(self, real: Path) -> None:
        """Put a log aside that is another file's. Raises SinkUnavailable where that cannot be done, or be told."""
        own_log, index = log.log_of(real), log.index_of(real)
        if place(own_log) is None:
            self._settle_index(index, with_file=real.exists())
            return
        self._index_alone = None
        if own_log.stat().st_size <= log.HEADER:
            return
        empty = not real.exists() or real.stat().st_size == 0
        verdict = Verdict.FOREIGN if empty else log.verdict(real)
        if verdict is Verdict.OWN:
            return
        where = f"SQLite file {self._path}"
        if verdict is Verdict.DAMAGED:
            raise SinkUnavailable(f"{where}: it is damaged, with its log and without; move all of {real}* away")
        if verdict is Verdict.UNKNOWN or self._readonly:
            what = "may be" if verdict is Verdict.UNKNOWN else "is"
            raise SinkUnavailable(f"{where}: {own_log} {what} the log of another file: move it away, or that file back")
        aside = ", ".join(map(str, log.put_aside(own_log, index)))
        text = f"{where}: the log beside it was of another file, and was put aside as {aside}"
        notices.tell("stream-replaced", text, subject=str(self._path), logger=self._logger)

    def _settle_index(self, index: Path, *, with_file: bool) -> None:
        """Wait for those who have both open still: they notice, and save what is in that log."""
        found = place(index)
        if found is None or self._readonly or not with_file:
            self._index_alone = None
            return
        if self._index_alone is None or self._index_alone[0] != found:
            self._index_alone = found, time.monotonic()
        if time.monotonic() - self._index_alone[1] < self._grace:
            raise SinkUnavailable(
                f"SQLite file {self._path}: its log was removed; whoever has the file open has {self._grace:.0f} s to "
                "save it"
            )
        log.put_aside(index)
        self._index_alone = None


def place(path: Path | str) -> Place | None:
    """Device and inode of what is there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - some a batch, and pathlib's is slower
    except OSError:
        return None
    return found.st_dev, found.st_ino


def name_of(wanted: Place | None, before: Path) -> str:
    """Return the name of a file that this process has open; empty where it has none any more.

    Where it has the name of `before` still, though that leads to another file now, something is mounted over it.
    """
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - numbers, not paths
    except OSError:
        descriptors = []
    for descriptor in descriptors:
        with suppress(OSError):
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) == wanted:
                name = Path(f"/proc/self/fd/{descriptor}").readlink()
                if name == before:
                    return f"hidden by a mount over {name} (umount shows it)"
                return str(name) if found.st_nlink else ""
    return "elsewhere"
