"""Celery's event types, and patterns that match none of them: a slip there drops events in silence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

CELERYS = (
    *("task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-rejected", "task-revoked"),
    *("task-retried", "task-cancelled", "worker-online", "worker-heartbeat", "worker-offline"),
)
"""All that Celery 5 publishes; `task-cancelled` is in no document of its. A publisher can invent any others."""
CUSTOM = "+"
"""Begins a pattern that is meant for custom events: it need not match a type of Celery's."""


def unmatched(patterns: Sequence[str], named: str = "BRIDGE_EVENT_TYPES", came: Collection[str] = ()) -> list[str]:
    """Return a sentence for each pattern that matches no type of Celery's and does not say that it is a custom one.

    `named` is what the patterns were given by. None for a pattern that matches one of the types that `came`.
    """
    lines = []
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if bare.startswith(CUSTOM) or _matches(bare, came):
            continue
        near = nearest(bare)
        hint = f"did you mean {near}? If it is" if near else "if it is"
        lines.append(
            f"{named}: {pattern!r} matches no event of Celery's: {hint}"
            f" a custom event of yours, say so with {CUSTOM}{bare}"
        )
    return lines


def nearest(pattern: str) -> str:
    """Return what may have been meant by a pattern that matches no type of Celery's, or an empty text."""
    corrected = re.sub(r"[._\s]", "-", pattern).lower()
    if _matches(corrected):
        return corrected
    return next(iter(difflib.get_close_matches(corrected, CELERYS, n=1, cutoff=0.6)), "")


def _matches(pattern: str, came: Collection[str] = ()) -> bool:
    return any(fnmatchcase(each, pattern) for each in (*CELERYS, *came))
