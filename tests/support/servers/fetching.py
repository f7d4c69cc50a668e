"""Installations and the like, which take a while and may fail: each tells how far it is, and keeps a failure's log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

EVERY = 2.0
"""Seconds between two lines about one that goes on."""


class ServerMissing(Exception):
    """No server of that kind can be had here. The text says what to do."""


def telling(
    what: str, command: Sequence[str], so_far: Callable[[str], str], cwd: str | None = None, every: float = EVERY
) -> None:
    """Run the command to its end, and say every few seconds how far it is: `so_far` makes that of its output.

    Raises ServerMissing with the cause and the log's path.
    """
    print(what, file=sys.stderr, flush=True)
    begin = time.monotonic()
    descriptor, name = tempfile.mkstemp(prefix="celery-event-bridge-", suffix=".log")
    log = Path(name)
    with (
        os.fdopen(descriptor, "wb") as output,
        subprocess.Popen(
            command, cwd=cwd, env=os.environ | {"LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        while True:
            try:
                code = process.wait(every)
                break
            except subprocess.TimeoutExpired:
                state = so_far(log.read_text(errors="replace"))
                print(f"{what}: {time.monotonic() - begin:.0f} s{state and f', {state}'}", file=sys.stderr, flush=True)
    if code:
        raise ServerMissing(f"{what} failed: {cause(log.read_text(errors='replace'))}; the whole log is {log}")
    log.unlink()


def cause(text: str) -> str:
    """The first line that says it is an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for line in lines if re.match(r"E:|\[?ERROR\b|error:|fatal:", line, re.IGNORECASE)), (lines or ["?"])[-1]
    )[:300]


def of_apt(text: str) -> str:
    """How much apt fetches in all, and what it does now."""
    size = re.findall(r"Need to get ([\d.,]+ ?[kMG]?B)", text)
    steps = re.findall(r"^(?:Get:\d+ \S+ \S+ \S+ (\S+)|(Unpacking|Setting up) ([\w.+-]+))", text, re.MULTILINE)
    now = f"fetching {steps[-1][0]}" if steps and steps[-1][0] else " ".join(steps[-1][1:]).lower() if steps else ""
    return ", ".join(part for part in (f"{size[0]} to fetch" if size else "", now) if part)


def megabytes_in(folder: Path, of: int) -> Callable[[str], str]:
    """What says how much of so many megabytes is in a folder."""

    def so_far(_output: str) -> str:
        found = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return f"{found / 1e6:.0f} of {of} MB"

    return so_far
