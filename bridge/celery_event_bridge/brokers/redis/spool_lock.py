"""Lock beside a spool file, which says that its replica lives: the kernel lets go of it with the process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock_of(file: Path) -> Path:
    """Return the path of a spool file's lock."""
    return file.with_suffix(".lock")


@contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Lock a file of another one's, where nobody has; say whether it is ours now."""
    path = lock_of(file)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
        if not file.exists():
            path.unlink(missing_ok=True)
