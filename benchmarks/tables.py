"""Tables of medians, as Markdown, which a terminal shows well enough."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

Figures = Sequence[dict[str, Any]]
YARDSTICK = "EventReceiver"
"""What the others are compared with: what everybody has today."""


def summary(race: dict[str, Any]) -> str:
    """The table of a race."""
    found = race["found"]
    if not found:
        return "nothing was measured"
    return latencies(found) if "rate" in race else drains(found)


def drains(found: Figures) -> str:
    """A row for each contender: medians, the spread of the rates, and what that is beside the yardstick."""
    compared = any(one["contender"] == YARDSTICK for one in found)
    head = ["", "events/s", "slowest to fastest", "CPU an event", "peak memory", "first after"]
    rows = [[*head, f"events/s, {YARDSTICK} = 1", f"CPU, {YARDSTICK} = 1"] if compared else head]
    for name in names(found):
        own = of(found, name)
        rates = [one["events_per_second"] for one in own]
        row = [
            name,
            f"{median(rates):,.0f}",
            f"{min(rates):,.0f} to {max(rates):,.0f}",
            f"{middle(own, 'cpu_microseconds'):.1f} us",
            f"{middle(own, 'peak_bytes') / 2**20:.0f} MiB",
            f"{middle(own, 'until_first_seconds'):.2f} s",
        ]
        if compared:
            row += [f"{ratio(found, name, YARDSTICK, key):.2f}" for key in ("events_per_second", "cpu_microseconds")]
        rows.append(row)
    return table(rows)


def latencies(found: Figures) -> str:
    """A row for each contender: medians of each run's percentiles, and the worst of all runs."""
    rows = [["", "p50", "p99", "max", "max of all runs", "CPU an event", "peak memory"]]
    for name in names(found):
        own = of(found, name)
        points = {point: [one["milliseconds"][point] for one in own] for point in ("50", "99", "100")}
        rows.append(
            [
                name,
                *(f"{median(points[point]):.1f} ms" for point in points),
                f"{max(points['100']):.1f} ms",
                f"{middle(own, 'cpu_microseconds'):.1f} us",
                f"{middle(own, 'peak_bytes') / 2**20:.0f} MiB",
            ]
        )
    return table(rows)


def ratio(found: Figures, one: str, other: str, figure: str) -> float:
    """The median of one's figure divided by the other's in the same run: what disturbed it disturbed both."""
    ours = {run["run"]: run[figure] for run in of(found, one)}
    pairs = [ours[run["run"]] / run[figure] for run in of(found, other) if run["run"] in ours]
    return median(pairs) if pairs else float("nan")


def names(found: Figures) -> list[str]:
    """The contenders, in the order of the plan, which is that of the first run."""
    return list(dict.fromkeys(one["contender"] for one in sorted(found, key=lambda one: int(one["run"]))))


def of(found: Figures, name: str) -> list[dict[str, Any]]:
    """A contender's."""
    return [one for one in found if one["contender"] == name]


def middle(found: Figures, figure: str) -> float:
    """The median of it."""
    return median(one[figure] for one in found)


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; all columns but the first are right-aligned."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = ["-" * width for width in widths]
    line = [first, *(dashes[:-1] + ":" for dashes in others)]
    padded = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], line, *padded[1:]])
