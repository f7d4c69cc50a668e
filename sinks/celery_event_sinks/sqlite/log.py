"""The write-ahead log beside a file: whose it is, and out of the way where it is another file's.

SQLite replays whatever log lies beside a file, and never asks whether it belongs there: its salts and checksums tie the
frames to the log's header, not to the file. So a file and its log carry the same mark. Each time the log begins anew
it has a new salt; the next transaction writes that salt into the table `bridge_file`, together with what the table held
in the file before. That row is a frame of the log as well. The log is the file's own if the file holds either salt: see
docs/decisions/0018-sqlite-file.md.
"""

from __future__ import annotations

import enum
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.sqlite.content import PAUSE, TRIES, Mark, content, sound

HEADER = 32
"""Bytes of a log's header; its two salts are those from 16 to 24."""
SEARCHED = 64 * 2**20
"""Bytes of a log that are searched for its mark, which is among its first frames."""
BLOCK, LONGEST = 2**20, 4096
"""Bytes of a log to read at a time, and those of a mark at most."""


class Verdict(enum.Enum):
    """Judgement on whose the log beside a file is."""

    OWN = "own"
    FOREIGN = "foreign"
    DAMAGED = "damaged"
    """Neither the file alone nor the file with that log is sound."""
    UNKNOWN = "unknown"
    """The check of a large file took too long, or could not be made."""


def log_of(path: Path) -> Path:
    """Return the log's name."""
    return path.with_name(path.name + "-wal")


def index_of(path: Path) -> Path:
    """Return the name of the log's index, the shared memory."""
    return path.with_name(path.name + "-shm")


def salt_of(path: Path | str) -> str:
    """Return the salt of the log beside the file, in hex; empty where there is no log, or nothing in it."""
    header = Header(path)
    try:
        return header.salt()
    finally:
        header.close()


class Header:
    """The header of one log, by a descriptor that is kept: to open a file costs more than all else of a look at it.

    The log itself is never locked, so it may be opened and closed here; of the file and the index that would end all
    locks that this process has on them.
    """

    def __init__(self, path: Path | str) -> None:
        self._name = f"{path}-wal"
        self._descriptor = -1

    def salt(self) -> str:
        """Return the salt, in hex; empty where there is no log, or nothing in it."""
        salt = self.read(16, 8)
        return salt.hex() if len(salt) == 8 else ""

    @property
    def opened(self) -> bool:
        """Tell whether there is a log to be read, or was when it was opened."""
        return self._descriptor >= 0

    def read(self, at: int, size: int) -> bytes:
        """Return these bytes of the log, or those of them that there are."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._name, os.O_RDONLY)
            return os.pread(self._descriptor, size, at)
        except OSError:
            return b""

    def close(self) -> None:
        """Close it; it is opened anew when it is asked for."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def verdict(path: Path) -> Verdict:
    """Judge whose the log beside the file is. There are both, and something is in them."""
    for _ in range(TRIES):
        before = _state(path)
        holds, mark = content(path), _mark_in_log(path, before[-1])
        if before == _state(path):
            break
        time.sleep(PAUSE)
    else:
        return Verdict.OWN  # somebody writes the two of them all the time
    if holds is not None and mark is not None:
        if not mark.allows(holds.salt) or holds.seq < mark.seq:
            return Verdict.FOREIGN
        if mark.cookie == holds.cookie:
            return Verdict.OWN
    elif holds is not None and holds.place == before[0]:
        return Verdict.OWN  # of the moment between the log's first transaction and the one that marks it
    return _checked(path)


def put_aside(*files: Path) -> list[Path]:
    """Rename these, a log and its index, and return the new names; remove them where there is nothing in the log."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    filled = any(file.name.endswith("-wal") and file.exists() and file.stat().st_size for file in files)
    moved = []
    for file in files:
        with suppress(FileNotFoundError):
            if not filled:
                file.unlink()
                continue
            number, name = 0, file.with_name(f"{file.name}.{stamp}")
            while name.exists():
                number += 1
                name = file.with_name(f"{file.name}.{stamp}-{number}")
            file.rename(name)
            moved.append(name)
    return moved


@contextmanager
def directory_lock(folder: Path, patience: float) -> Iterator[None]:
    """Inside, no other bridge or reader opens a file of that directory, or puts a log aside. Needs no file of its own.

    Raises SinkUnavailable if it cannot be had in so many seconds.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield  # what is wrong with it, SQLite will say
        return
    try:
        deadline = Deadline(patience)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.passed:
                    raise SinkUnavailable(
                        f"{folder}: another process opens a file in it, and does not end: end that one"
                    ) from None
                time.sleep(PAUSE)
            except OSError:
                break  # a file system without such locks
        yield
    finally:
        os.close(descriptor)


def _state(path: Path) -> tuple[tuple[int, int], int, int, str]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0), 0, 0, ""
    return (found.st_dev, found.st_ino), found.st_mtime_ns, found.st_size, salt_of(path)


def _mark_in_log(path: Path, salt: str) -> Mark | None:
    """Return the mark of the log with this salt, which no publisher of events can guess; None if there is none yet."""
    wanted = re.compile(rb"bridge-log %b [0-9a-f,-]+ [0-9]+ [0-9]+;" % salt.encode())
    last, end_before = b"", b""
    # Read, and not mapped: another process may cut the log short meanwhile, and a look past its end would be a SIGBUS.
    with suppress(OSError), log_of(path).open("rb", buffering=0) as log:
        for _ in range(0, SEARCHED, BLOCK):
            block = log.read(BLOCK)
            if not block:
                break
            searched = end_before + block
            last = (wanted.findall(searched) or [last])[-1]
            end_before = searched[-LONGEST:]
    return Mark.parse(last.decode()) if last else None


def _checked(path: Path) -> Verdict:
    """Judge by SQLite's own check, of the file with the log and without."""
    together = sound(path)
    if together:
        return Verdict.OWN
    alone = sound(path, "&immutable=1")
    if together is None or alone is None:
        return Verdict.UNKNOWN
    return Verdict.FOREIGN if alone else Verdict.DAMAGED
