"""A filter that leaves out everything: it acknowledges and drops all that comes, by a slip in a type's name."""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.config.event_types import CELERYS, CUSTOM, nearest, unmatched
from celery_event_bridge.contract import notices
from celery_event_bridge.forward.intake import event_filter


def doubts(patterns: Sequence[str]) -> list[str]:
    """Return a sentence for each pattern that looks like a slip, and one for a filter that passes nothing."""
    return [*unmatched(patterns), *filter(None, [passes_nothing(patterns)])]


def passes_nothing(patterns: Sequence[str]) -> str:
    """Return a sentence where a filter passes no Celery type and names no custom event; else an empty text."""
    if any(pattern.startswith(CUSTOM) for pattern in patterns) or any(map(event_filter(patterns), CELERYS)):
        return ""
    near = [found for pattern in patterns if not pattern.startswith("!") and (found := nearest(pattern)) != pattern]
    hint = f"did you mean {','.join(filter(None, near))}? " if any(near) else ""
    return (
        f"BRIDGE_EVENT_TYPES={','.join(patterns)} lets no Celery event through: {hint}"
        f"Of a custom event say so with a {CUSTOM} before its type"
    )


class LeftOut:
    """Tells once a minute how many events were dropped, while a filter passes nothing at all."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._sentence = passes_nothing(patterns)
        self._dropped = 0

    def count(self, dropped: int, forwarded: int) -> None:
        """Take note of one batch."""
        if not self._sentence:
            return
        if forwarded:  # custom events, which the filter is meant for
            self._sentence = ""
            notices.over("all-filtered", "BRIDGE_EVENT_TYPES lets events through", subject="all")
            return
        self._dropped += dropped
        if dropped:
            notices.tell(
                "all-filtered",
                f"all {self._dropped} events since the start were acknowledged and dropped, and none was forwarded: "
                f"{self._sentence}",
                subject="all",
                count=dropped,
            )
