"""Readers of Redis in tests: so many events, all that is wanted, and what was told."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import Events
from tests.support.servers.debian import PATIENCE
from tests.support.streams import Stream

STREAM, GROUP = "celery-events", "billing"


def take(events: Events, count: int) -> list[Any]:
    return list(itertools.islice(events, count))


def rest(events: Events, wanted: set[str], seconds: float = 30) -> list[str]:
    """The ids that come until all that is wanted has come; what comes is committed."""
    found: list[str] = []
    deadline = time.monotonic() + seconds * PATIENCE
    events.idle = lambda: events.stop() if time.monotonic() > deadline else None
    while not wanted <= set(found):
        event = next(events, None)
        assert event is not None, f"{len(wanted - set(found))} have not come"
        found.append(event.id)
        events.commit(event)
    return found


def stores(stream: Stream) -> bool:
    try:
        stream.sink.available()
    except SinkUnavailable:
        return False
    return True


def lines(caplog: pytest.LogCaptureFixture, kind: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == kind]


def read_until(events: Events, done: Callable[[], bool], seconds: float = 20) -> None:
    """Let it look again and again, and find nothing to hand out, until this is so."""
    deadline = time.monotonic() + seconds * PATIENCE
    events.idle = lambda: events.stop() if done() or time.monotonic() > deadline else None
    found = next(events, None)
    events._stopping.clear()
    events.idle = None
    assert found is None, f"it hands out {found.id}"
    assert done()
