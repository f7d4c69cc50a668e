"""Types that a reader is asked for, and a word on patterns that match nothing: a slip there hides events in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celery_event_bridge.config.event_types import unmatched
from celery_event_bridge.contract import notices
from celery_event_bridge.forward.intake import event_filter


class Picked:
    """Patterns such as `task-*,!task-received`; none means all."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns: Sequence[str] = patterns
        self._came: set[str] = set()
        self.wanted: Callable[[str], bool] = event_filter(patterns, self._came)
        """Test of whether events of this type are asked for."""

    def look(self) -> None:
        """Tell, once something was read, of patterns that match no type of Celery's and none that came; only once."""
        if not self._came:
            return
        for text in unmatched(self._patterns, "types", self._came):
            notices.tell("filter", text, subject=text, logger="celery_event_bridge.reader")
        self._patterns = ()
