"""Progress of a command: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Protocol

import click

STEPS = 1000
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
        self._step = 0
        self._count = 0
        self._began = time.monotonic()
        self._due = 0.0
        self._bar = click.progressbar(length=STEPS, item_show_func=self._text, file=sys.stderr)
        self._open = True
        self._bar.__enter__()

    def __call__(self, at: int, count: int) -> None:
        """Draw it, if it is time to."""
        self._count = count
        if self._first is None:
            self._first = at
        now = time.monotonic()
        if now < self._due or not self._open:
            return
        self._due = now + INTERVAL
        part = (at - self._first) / max(1, self._until - self._first)
        step = max(self._step, min(STEPS, round(part * STEPS)))
        self._bar.update(step - self._step, self)
        self._step = step

    def close(self) -> None:
        """Take it to its end of the line."""
        if self._open:
            self._open = False
            self._bar.__exit__(None, None, None)

    def _text(self, _: object) -> str:
        seconds = max(0.001, time.monotonic() - self._began)
        return f"{self._count:,} events, {self._count / seconds:,.0f}/s"


def progress(until: int) -> Progress:
    """A bar up to that time, in microseconds since 1970, where somebody sees it."""
    return Bar(until) if sys.stderr.isatty() else Silence()
