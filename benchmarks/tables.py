"""Tables of medians, as Markdown, which a terminal shows well enough."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

Figures = Sequence[dict[str, Any]]
YARDSTICK = "EventReceiver"
"""What everything else is compared with where it takes part: what one has today."""


def race_table(drains: Figures) -> str:
    """A row for each contender, in the order of the plan, with medians, and the spread of the rates."""
    rows = [["", "events/s", "slowest to fastest", "CPU an event", "peak memory"]]
    names = list(dict.fromkeys(one["contender"] for one in drains if one["run"] == 0)) or [""]
    for name in names:
        own = of(drains, name)
        rates = [one["events_per_second"] for one in own]
        rows.append(
            [
                name,
                f"{median(rates):,.0f}",
                f"{min(rates):,.0f} to {max(rates):,.0f}",
                f"{middle(own, 'cpu_microseconds'):.1f} us",
                f"{middle(own, 'peak_bytes') / 2**20:.0f} MiB",
            ]
        )
    return table(rows)


def ratios(drains: Figures, one: str, other: str, figure: str) -> list[float]:
    """The figure of one divided by that of the other, run by run: what disturbed a run disturbed both."""
    ours = {found["run"]: found[figure] for found in of(drains, one)}
    return [ours[found["run"]] / found[figure] for found in of(drains, other) if found["run"] in ours]


def of(drains: Figures, name: str) -> list[dict[str, Any]]:
    """A contender's."""
    return [one for one in drains if one["contender"] == name]


def middle(drains: Figures, figure: str) -> float:
    """The median of it."""
    return median(one[figure] for one in drains)


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; all columns but the first are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = ["-" * width for width in widths]
    line = [first, *(dashes[:-1] + ":" for dashes in others)]
    padded = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], line, *padded[1:]])
