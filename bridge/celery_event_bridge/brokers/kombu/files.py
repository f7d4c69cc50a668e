"""Files of the transport `filesystem`: their names, their locks, and the errors of their folders."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from celery_event_bridge.contract.broker import BrokerUnavailable


@contextmanager
def unavailable(where: Path) -> Iterator[None]:
    """Raise BrokerUnavailable for an OSError."""
    try:
        yield
    except OSError as exc:
        raise BrokerUnavailable(f"{exc.filename or where}: {exc.strerror or exc}") from exc


def problem_of(folder: Path) -> str:
    """Return what is wrong with a folder that is to have messages in it, and what to do; empty if nothing is."""
    if folder.is_dir():
        return ""
    return f"data_folder_in {folder} is no folder: make it, or set BRIDGE_BROKER_TRANSPORT_OPTIONS as Celery's"


def require(folder: Path) -> None:
    """Raise BrokerUnavailable where there is no such folder."""
    if problem := problem_of(folder):
        raise BrokerUnavailable(problem)


def names_in(folder: Path, queue: str) -> list[str]:
    """Return the names of a queue's files in a folder, oldest first as far as their names tell. Raises OSError."""
    wanted = f"{queue}.msg"
    return sorted((name for name in os.listdir(folder) if name.partition(".")[2] == wanted), key=_age)


def new_name(queue: str) -> str:
    """Return a name as kombu gives it."""
    return f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file that is there whole, on disk, or not at all. Raises OSError."""
    part = folder / f".{name}.part"
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / name)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of this file until it is closed; None if another process has it.

    Raises OSError; a FileNotFoundError where the folder is gone.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed the file since it was opened: then the lock is one of nothing.
        if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _age(name: str) -> tuple[int, str]:
    number = name.partition("_")[0]
    with suppress(ValueError):
        return int(number), name
    return 0, name
