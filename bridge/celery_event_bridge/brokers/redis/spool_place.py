"""Verdict on the directory of BRIDGE_SPOOL, for `check` and the start of `run`.

It is to be writable, with room in it, and there for the next bridge.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from celery_event_bridge.contract import Finding
from celery_event_bridge.contract.container import is_the_containers_own, nearest

MIB = 2**20


def judged(spool: Path, max_bytes: int) -> Finding:
    """Return it. Nothing is left there: a bridge makes the directory."""
    there, name = nearest(spool), f"BRIDGE_SPOOL={spool}"
    if not there.is_dir():
        return Finding("FAIL", f"{name}: {there} is no directory: name one that this user may write in")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("FAIL", f"{name}: this user cannot write in {there}, or its file system is read-only")
    if problem := _tried(spool):
        return Finding("FAIL", f"{name}: it cannot be {problem}: name a directory that this user may write in")
    if is_the_containers_own(spool):
        return Finding(
            "warn",
            f"{name}: this is no volume, and what is spooled there is gone with the container, when the next bridge "
            f"should send it on: mount one (docker run --volume bridge:{spool} ...)",
        )
    free = shutil.disk_usage(there).free
    if free < max_bytes:
        return Finding(
            "warn",
            f"{name}: {free // MIB} MiB are free there, less than the {max_bytes // MIB} MiB of BRIDGE_SPOOL_MAX_BYTES "
            "that one replica may use",
        )
    return Finding("ok", f"{name}: up to {max_bytes // MIB} MiB for each replica, {free // MIB} MiB are free")


def _tried(spool: Path) -> str:
    """Make the directory, and a file in it, as rights alone do not tell; say what fails. All of it is removed again."""
    made = [each for each in (spool, *spool.parents) if not os.path.lexists(each)]
    try:
        try:
            spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            return f"made: {exc.strerror or exc}"
        try:
            with tempfile.TemporaryFile(dir=spool) as file:
                file.write(b"a trial")
                file.flush()
        except OSError as exc:
            return f"written: {exc.strerror or exc}"
        return ""
    finally:
        for each in made:
            with suppress(OSError):  # another bridge uses it already
                each.rmdir()
