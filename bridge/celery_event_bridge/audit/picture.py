"""A picture of the delays: how many events were stored how late, on a scale of tens."""

from __future__ import annotations

import math

from celery_event_bridge.audit.delays import Delays
from celery_event_bridge.audit.svg import FAINT, INK, OWN, line, svg, text

WIDTH, HEIGHT = 760, 360
"""Pixels."""
LEFT, TOP, BOTTOM, RIGHT = 64, 66, 60, 24
PER_TEN = 10
"""Bars between a delay and one ten times as long."""
MARKED = (50.0, 95.0, 99.0, 99.9)


def picture(delays: Delays) -> str:
    """Return the SVG."""
    title = f"Delay from event to storage, {delays.count:,} events"
    bars: dict[int, int] = {}
    for seconds, count in delays.steps():
        bar = math.floor(math.log10(seconds) * PER_TEN)
        bars[bar] = bars.get(bar, 0) + count
    if not bars:
        return svg(WIDTH, HEIGHT, [text(10, 20, title, weight="bold")])
    low, high = math.floor(min(bars) / PER_TEN), math.floor(max(bars) / PER_TEN) + 1
    scale = (WIDTH - LEFT - RIGHT) / ((high - low) * PER_TEN)
    floor, height = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    most = max(bars.values())

    def x(seconds: float) -> float:
        return LEFT + (math.log10(max(seconds, 10.0**low)) - low) * PER_TEN * scale

    parts = [text(10, 20, title, weight="bold"), text(LEFT - 8, TOP + 4, f"{most / delays.count:.0%}", anchor="end")]
    parts += [line(LEFT, TOP, WIDTH - RIGHT, TOP, FAINT), line(LEFT, floor, WIDTH - RIGHT, floor, INK)]
    for power in range(low, high + 1):
        parts.append(line(x(10.0**power), floor, x(10.0**power), floor + 5, INK))
        parts.append(text(x(10.0**power), floor + 22, _named(power), anchor="middle"))
    for bar, count in sorted(bars.items()):
        left, tall = LEFT + (bar - low * PER_TEN) * scale, count / most * height
        parts.append(
            f'<rect x="{left:.1f}" y="{floor - tall:.1f}" width="{scale - 1:.1f}" height="{tall:.1f}" fill="{OWN}"/>'
        )
    for place, percent in enumerate(MARKED):
        at = x(delays.percentile(percent))
        parts.append(line(at, TOP - 22 + 12 * (place % 2), at, floor, INK))
        parts.append(text(at + 3, TOP - 14 + 12 * (place % 2), f"p{percent:g}"))
    return svg(WIDTH, HEIGHT, parts)


def _named(power: int) -> str:
    if power < 0:
        return f"{10.0 ** (power + 3):g} ms"
    return f"{10**power:,} s"
