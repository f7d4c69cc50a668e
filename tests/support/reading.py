"""A reader as a process of its own, which notes in a file what it handles: `python -m tests.support.reading`.

A line `h ID` once an event is handled, `c` once a commit is durable, `p` where it has passed something over. Each is
one write, so that nothing of it is lost by a SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from celery_event_bridge.reader import open_reader
from tests.support.bridges import die_with_parent


class Notes(NamedTuple):
    """What a reader has noted."""

    handled: list[str]
    committed: list[str]
    """By commits that passed over nothing."""
    left: list[str]
    """Handled after the last commit, or under one that passed something over."""


def notes(file: Path) -> Notes:
    """Read them."""
    handled: list[str] = []
    committed: list[str] = []
    left: list[str] = []
    since: list[str] = []
    for line in file.read_text().splitlines():
        kind, _, event_id = line.partition(" ")
        if kind == "h":
            handled.append(event_id)
            since.append(event_id)
        else:
            (committed if kind == "c" else left).extend(since)
            since = []
    return Notes(handled, committed, left + since)


def main(url: str, group: str, file: str, lease: str, every: str, pause: str) -> None:
    """Read until SIGTERM, or until the parent is gone."""
    die_with_parent()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    with open_reader(url, group, lease=float(lease)) as events:
        signal.signal(signal.SIGTERM, lambda *_: events.stop())
        for event in events:
            os.write(descriptor, f"h {event.id}\n".encode())
            number += 1
            if number % int(every) == 0:
                os.write(descriptor, b"c\n" if events.commit(event) else b"p\n")
            if float(pause):
                time.sleep(float(pause))  # the work that it is read for


if __name__ == "__main__":
    main(*sys.argv[1:])
