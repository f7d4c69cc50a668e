"""Progress of a command: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress as Shown, TaskProgressColumn, TextColumn, TimeRemainingColumn

INTERVAL = 0.1
"""Seconds between two looks at how far it is."""


class Progress(Protocol):
    """Told of each step."""

    def __call__(self, at: int, count: int) -> None:
        """Show that it has come to this time, in microseconds since 1970, and so many are done."""

    def close(self) -> None:
        """Leave the terminal as it was. May be called more than once."""


class Silence:
    """Progress that nobody sees."""

    def __call__(self, at: int, count: int) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class Bar:
    """Bar from the time of the first event to `until`: how many events there are no stream tells beforehand."""

    def __init__(self, until: int) -> None:
        self._until = until
        self._first: int | None = None
        self._count = 0
        self._began = time.monotonic()
        self._due = 0.0
        # No thread draws it: it moves when it is told of a step, and lines of the log are written by themselves.
        self._shown = Shown(
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._shown.add_task("", total=1.0)
        self._shown.start()

    def __call__(self, at: int, count: int) -> None:
        """Draw it, if it is time to."""
        self._count = count
        if self._first is None:
            self._first = at
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + INTERVAL
        part = (at - self._first) / max(1, self._until - self._first)
        furthest = max(self._shown.tasks[0].completed, min(1.0, part))
        self._shown.update(self._task, completed=furthest, description=self._text(), refresh=True)

    def close(self) -> None:
        """Leave it as it is, with the last figures, and give the cursor back."""
        self._shown.update(self._task, description=self._text())
        self._shown.stop()

    def _text(self) -> str:
        seconds = max(0.001, time.monotonic() - self._began)
        return f"{self._count:,} events, {self._count / seconds:,.0f}/s"


def progress(until: int) -> Progress:
    """Show a bar up to that time, in microseconds since 1970, where somebody sees it."""
    return Bar(until) if sys.stderr.isatty() else Silence()
