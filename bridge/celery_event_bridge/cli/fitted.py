"""Tables and sentences that fit a width, and break no word: an id or a name can be copied whole.

A table whose rows are too long gets rows of several lines, each with the same columns. A single word that is longer
than the width has a line of its own, and is the only thing that goes beyond.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

GAP = "  "
"""Between two columns."""
INDENT = "    "
"""Before the second line of a row, and those after it."""


class Column:
    """A heading, and how its cells stand."""

    def __init__(self, heading: str, *, right: bool = False) -> None:
        """`right`: numbers. A heading may have several lines."""
        self.heading = heading.split("\n")
        self.right = right

    def padded(self, text: str, width: int) -> str:
        """Return the text with blanks on the left or on the right."""
        blanks = " " * max(0, width - cell_len(text))
        return blanks + text if self.right else text + blanks


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines: the heading, a rule, and the rows."""
    widths = _widths(columns, rows)
    lines = list(_in_lines(widths, width))
    tall = max(len(column.heading) for column in columns)
    headings = [[""] * (tall - len(column.heading)) + column.heading for column in columns]
    if len(lines) == 1:
        heads = [[heading[number] for heading in headings] for number in range(tall)]
    else:
        heads = [[" ".join(filter(None, heading)) for heading in headings]]
    for head in heads:
        yield from _laid_out(columns, head, widths, lines, width)
    longest = max(_length(widths, line, first=line is lines[0]) for line in lines)
    yield "-" * min(longest, width)
    for row in rows:
        yield from _laid_out(columns, row, widths, lines, width)


def fits(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether each row has room in a line."""
    return len(list(_in_lines(_widths(columns, rows), width))) == 1


def packed(parts: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of the parts, with a blank between two; none is broken, and what does not fit begins a new line."""
    line = ""
    for part in parts:
        longer = f"{line} {part}" if line else part
        if line and cell_len(longer) > width:
            yield line
            longer = f"  {part}"
        line = longer
    yield line


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return the text in lines, broken at blanks alone."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(*map(cell_len, column.heading), max((cell_len(row[place]) for row in rows), default=0))
        for place, column in enumerate(columns)
    ]


def _in_lines(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Yield the columns of each line that a row needs, by their places."""
    line: list[int] = []
    used = 0
    for place, wide in enumerate(widths):
        if line and used + len(GAP) + wide > width:
            yield line
            line, used = [], len(INDENT)
        used += wide + (len(GAP) if line else 0)
        line.append(place)
    yield line


def _length(widths: Sequence[int], line: Sequence[int], *, first: bool) -> int:
    return sum(widths[place] for place in line) + len(GAP) * (len(line) - 1) + (0 if first else len(INDENT))


def _laid_out(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], lines: Sequence[Sequence[int]], width: int
) -> Iterator[str]:
    for number, line in enumerate(lines):
        indent = INDENT if number else ""
        if len(line) == 1 and (number or widths[line[0]] > width):
            yield from wrapped(cells[line[0]], width, indent)  # a sentence, or a long name
        else:
            text = GAP.join(columns[place].padded(cells[place], widths[place]) for place in line)
            yield (indent + text).rstrip()
