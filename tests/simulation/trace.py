"""Trace of a run: who did what, when. Its digest tells whether two runs were the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 26
"""Characters of a column of the picture."""


class Line(NamedTuple):
    """A step of somebody."""

    at: float
    who: str
    what: str
    details: Sequence[object]

    def __str__(self) -> str:
        return " ".join([self.what, *map(_text, self.details)])


class Trace:
    """Lines in the order in which they were written."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, at: float, who: str, what: str, details: Sequence[object]) -> None:
        """Write a line."""
        self.lines.append(Line(at, who, what, details))

    def digest(self) -> str:
        """Return 32 hex digits that are the same for the same lines, on every machine and every Python."""
        text = "\n".join(f"{line.at:.9f} {line.who} {line}" for line in self.lines)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def picture(self, last: int = 200) -> str:
        """Draw the last so many lines: time downwards, a column for each who."""
        lines = self.lines[-last:]
        actors = sorted({line.who for line in lines})
        rows = ["seconds    " + "".join(actor.ljust(WIDTH) for actor in actors)]
        for line in lines:
            indent = " " * WIDTH * actors.index(line.who)
            rows.append(f"{line.at:9.4f}  {indent}{line}")
        return "\n".join(rows)


def _text(detail: object) -> str:
    return f"{detail:.4g}" if isinstance(detail, float) else str(detail)
