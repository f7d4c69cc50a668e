"""Sentences of the command line: their grammar, and the hints in them."""

from __future__ import annotations

import pytest

from celery_event_bridge.config.event_types import unmatched
from celery_event_bridge.contract.values import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events")])
def test_one_of_them_is_no_plural(count: int, said: str) -> None:
    """By the one helper for such sentences."""
    assert said == counted(count, "event")


def test_a_pattern_that_matches_nothing_is_a_sentence() -> None:
    """With what was meant, and without."""
    (meant,) = unmatched(["task-failled"], "--type", ())
    assert "Celery's: did you mean task-failed? If it is a custom event" in meant
    (unknown,) = unmatched(["xyzzy"], "--type", ())
    assert "Celery's: if it is a custom event" in unknown
