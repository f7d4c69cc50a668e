"""Place of the file: in a container only what lies on a volume is kept, and a file stays with its log or is no good."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from celery_event_bridge.contract import notices
from celery_event_bridge.contract.container import is_the_containers_own
from celery_event_sinks.sqlite.log import index_of, log_of

MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def refusal(path: Path) -> str:
    """Return why nothing should be stored in a file of that name, and what to do; else an empty text."""
    if text := unfit(path):
        return f"BRIDGE_SQLITE_PATH={path}: {text}"
    if not is_the_containers_own(path):
        return ""
    return (
        f"BRIDGE_SQLITE_PATH={path}: this is no volume, and all that is stored there would be gone with the container: "
        f"mount one (docker run --volume bridge:{path.parent} ...), or choose another stream, as with BRIDGE_SINK=kafka"
    )


def open_to_others(path: Path) -> str:
    """Return that every user of the machine may read the file or its log, and what to do; else an empty text."""
    real = Path(os.path.realpath(path))
    try:
        if not all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents):
            return ""  # a folder on the way is closed to them
        beside = [real, log_of(real), index_of(real)]
        found = [each for each in beside if each.exists() and each.stat().st_mode & stat.S_IROTH]
    except OSError:
        return ""
    if not found:
        return ""
    names = " ".join(map(str, found))
    return (
        f"every user of this machine may read {found[0]}, with the arguments and results of tasks that are in it: "
        f"chmod o-r {names}"
    )


def unfit(path: Path) -> str:
    """Return why what is there is no file that keeps what is stored in it, and what to do; else an empty text."""
    real = os.path.realpath(path)
    try:
        found = os.stat(real)  # noqa: PTH116 - a closed folder is none of ours to tell of
    except (OSError, ValueError):
        return ""
    if text := no_file(found.st_mode):
        return text
    if is_mounted(real):
        return (
            "the file itself is a mount, and its write-ahead log, with what was confirmed last, would lie beside it, "
            f"outside of that mount, and be gone with the container: mount its directory (docker run --volume "
            f"/directory/of/the/host:{Path(real).parent} ...)"
        )
    if found.st_nlink > 1:
        return linked(found.st_nlink)
    return ""


def no_file(mode: int) -> str:
    """Return why what has this mode can hold no events, and what to do; empty for a file."""
    if stat.S_ISDIR(mode):
        return "it is a directory: name a file in it, as with events.db at its end"
    return "" if stat.S_ISREG(mode) else "it is a device or a pipe, which keeps nothing: name a file"


def linked(names: int) -> str:
    """Say what comes of a file with several names, and what to do."""
    return (
        f"the file has {names} names (hard links), and a write-ahead log by each: who opens it by another name misses "
        "what is in this one's log, and destroys the file by writing. Remove the other names (find DIRECTORY -samefile "
        "FILE), or copy the file (cp, sqlite3 FILE '.backup COPY') in place of linking it"
    )


def tell_of_names(path: Path) -> None:
    """Tell of other names that somebody has given to a file in use, and that they are gone."""
    try:
        names = os.stat(path).st_nlink  # noqa: PTH116 - as above
    except OSError:
        return
    subject = f"{path} names"
    if names > 1:
        notices.tell("stream-advice", f"SQLite file {path}: {linked(names)}", subject=subject, every=3600.0)
    else:
        notices.over("stream-advice", f"SQLite file {path}: the file has one name again", subject=subject)


def is_mounted(real: str) -> bool:
    """Return whether something is mounted at that very path, of whatever file system. False where nobody can tell."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    return any(_ESCAPED.sub(_unescaped, line.split(" ", 5)[4]) == real for line in lines if line.count(" ") >= 5)


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))
