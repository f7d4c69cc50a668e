"""Fields of an event, as people read them: a line each, or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from celery_event_bridge.cli.legible import legible

ENVELOPE = frozenset(
    ("type", "hostname", "timestamp", "uuid", "pid", "clock", "utcoffset", "local_received", "freq", "name")
)
"""Fields that every event has, or that its line has already."""
WIDTH = 10
"""Characters of the column of names."""
SHORT = 60
"""Characters of a value within a line."""


def details(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for an event's own fields; one of several lines, as a traceback is, stands below its name."""
    for name, value in fields.items():
        if name in ENVELOPE or value is None or not name:
            continue
        lines = _text(value).splitlines() or [""]
        if len(lines) == 1:
            yield f"    {legible(name):<{WIDTH}} {legible(lines[0])}".rstrip()
        else:
            yield f"    {legible(name)}"
            yield from (f"        {legible(line)}" for line in lines)


def shortened(value: Any) -> str:
    """Return a value for the middle of a line."""
    text = " ".join(_text(value).split())
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError):  # a surrogate, or a number that JSON has not
        return str(value)
