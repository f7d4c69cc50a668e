"""Rights to the file, its log and the directory: whose they are, where this user is kept out."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from celery_event_sinks.sqlite.log import index_of, log_of

OF_RIGHTS = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
"""SQLite's codes for what may be a right that is missing."""

LETTERS = {"read": "r", "write": "rw", "enter": "rwx"}
"""Rights of chmod by what they are for; `rwx` as SQLite makes its log and the log's index in the directory."""


def kept_out(path: Path, exc: sqlite3.Error | OSError, *, writes: bool) -> str:
    """Return what keeps this user from the file, whose that is, and what to do; empty where the error has another
    cause.
    """
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if not isinstance(exc, PermissionError) and code not in OF_RIGHTS:
        return ""
    real = Path(os.path.realpath(path))
    wanted = os.R_OK | (os.W_OK if writes else 0)
    try:
        for folder in reversed(real.parents):
            if not _may(folder, os.X_OK):
                return _whose(folder, "enter")
        if os.statvfs(real.parent).f_flag & os.ST_RDONLY:
            return "its file system is mounted read-only: choose another path" if writes else ""
        for each in (real, log_of(real), index_of(real)):
            if each.exists() and not _may(each, wanted):
                return _whose(each, "write" if writes else "read")
        # Who reads makes the log's index too, where nobody has the file open.
        if not _may(real.parent, os.W_OK):
            return _whose(real.parent, "write")
    except OSError:
        pass  # it is gone meanwhile
    return ""


def _may(path: Path, wanted: int) -> bool:
    return os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids)


def _whose(path: Path, verb: str) -> str:
    found = path.stat()
    mode, owner, group = f"{stat.S_IMODE(found.st_mode):04o}", found.st_uid, found.st_gid
    remedy = f"run as user {owner}, or let this one {verb} it"
    if owner == os.geteuid():
        remedy = f"chmod u+{LETTERS[verb]} {path}"
    this = f"this is user {os.geteuid()}, group {os.getegid()}"
    return f"{path} is {mode} of user {owner}, group {group}, and {this}: {remedy}"
