"""Pictures of the figures as SVG, drawn by hand: bars with their spread, and a curve of percentiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.tables import Figures, names, of
from celery_event_bridge.audit.svg import FAINT, INK, OTHER, OWN, line, svg, text

LABELS, PANEL, GAP, ROW, HEAD = 240, 270, 80, 26, 44
"""Pixels: the names on the left, one panel, the room for a figure beside it, a row, and what is above the first."""
LINES = ("#1f6feb", "#9a6700", "#1a7f37", "#cf222e")
CURVE = ("50", "75", "90", "95", "99", "99.5", "99.9", "100")
WIDTH, HEIGHT = 760, 360
"""Pixels of the curve's picture."""
LEFT, TOP, BOTTOM, RIGHT = 76, 40, 60, 200


def picture(race: dict[str, Any]) -> str:
    """The SVG of a race."""
    return curves(race) if "rate" in race else bars(race)


def bars(race: dict[str, Any]) -> str:
    """A row for each contender, events/s on the left and CPU an event on the right, medians with their spread."""
    found = race["found"]
    rows = names(found)
    height = HEAD + ROW * len(rows) + 10
    parts = [text(10, 20, race["title"], weight="bold")]
    for row, name in enumerate(rows):
        parts.append(text(LABELS - 8, HEAD + ROW * row + 17, name, anchor="end"))
    for place, (key, title) in enumerate((("events_per_second", "events/s"), ("cpu_microseconds", "us CPU an event"))):
        left = LABELS + place * (PANEL + GAP)
        parts.append(text(left, 36, title))
        parts += _panel(found, rows, key, left, (lambda x: f"{x:,.0f}") if not place else (lambda x: f"{x:.1f}"))
    return svg(LABELS + 2 * (PANEL + GAP), height, parts)


def _panel(found: Figures, rows: Sequence[str], key: str, left: float, show: Callable[[float], str]) -> Iterator[str]:
    spread = {name: [one[key] for one in of(found, name)] for name in rows}
    scale = PANEL / max(max(values) for values in spread.values())
    for row, name in enumerate(rows):
        top, values = HEAD + ROW * row, spread[name]
        colour = OWN if name.startswith(OURS) else OTHER
        yield f'<rect x="{left}" y="{top + 4}" width="{median(values) * scale:.1f}" height="16" fill="{colour}"/>'
        yield line(left + min(values) * scale, top + 12, left + max(values) * scale, top + 12, INK)
        yield text(left + max(values) * scale + 6, top + 17, show(median(values)))


def curves(race: dict[str, Any]) -> str:
    """A line for each contender: the latency that so many per cent of the events do not exceed, on a scale of tens."""
    found = race["found"]
    lines = {
        name: [median(one["milliseconds"][point] for one in of(found, name)) for point in CURVE]
        for name in names(found)
    }
    every = [value for values in lines.values() for value in values if value > 0]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    step = (WIDTH - LEFT - RIGHT) / (len(CURVE) - 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - low) / max(1, high - low) * (HEIGHT - BOTTOM - TOP)

    parts = [text(10, 20, race["title"], weight="bold")]
    for power in range(low, high + 1):
        parts.append(line(LEFT, y(10**power), WIDTH - RIGHT, y(10**power), FAINT))
        parts.append(text(LEFT - 8, y(10**power) + 4, f"{10**power:g} ms", anchor="end"))
    for place, point in enumerate(CURVE):
        label = "max" if point == "100" else f"p{point}"
        parts.append(text(LEFT + place * step, HEIGHT - BOTTOM + 20, label, anchor="middle"))
    for number, (name, values) in enumerate(lines.items()):
        colour = LINES[number % len(LINES)]
        points = " ".join(f"{LEFT + place * step:.1f},{y(value):.1f}" for place, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            line(WIDTH - RIGHT + 14, TOP + 12 + 22 * number, WIDTH - RIGHT + 34, TOP + 12 + 22 * number, colour)
        )
        parts.append(text(WIDTH - RIGHT + 40, TOP + 16 + 22 * number, name))
    return svg(WIDTH + 40, HEIGHT - BOTTOM + 36, parts)
