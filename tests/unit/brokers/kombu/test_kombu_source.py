"""The source on transports of kombu: what it says while nothing comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from celery_event_bridge.brokers.envelope import Heard
from celery_event_bridge.brokers.kombu.queue import Queue
from celery_event_bridge.brokers.kombu.settings import Settings
from celery_event_bridge.brokers.kombu.source import KombuSource
from celery_event_bridge.contract import notices
from tests.support.folders import Folders
from tests.support.redis_links import SetClock


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


class MemoryQueue:
    """See `celery_event_bridge.brokers.kombu.queue.Queue`. A message is known by its body."""

    pause = 1.0

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def take(self, lane: object, tag: int, most: int, _: int) -> list[tuple[bytes, Heard]]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return [(body, Heard(lane, tag + number, body, "", {})) for number, body in enumerate(taken)]

    def put_back(self, known_by: bytes) -> None:
        self.waiting.append(known_by)

    def size(self) -> int:
        return len(self.waiting)

    def nothing(self) -> None:
        """Do nothing."""

    open = close = drop = look_after = nothing


def source_of(settings: Settings) -> tuple[KombuSource, MemoryQueue, SetClock]:
    queue, clock = MemoryQueue(), SetClock()
    source = KombuSource(settings, cast("Queue", queue), clock)
    source.open()
    source.consume()
    return source, queue, clock


@pytest.mark.parametrize("scheme", ["filesystem", "memory"])
def test_a_minute_without_events_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str) -> None:
    """Once, until they come: another folder or exchange than Celery's is silent for ever."""
    caplog.set_level("INFO")
    settings = Folders(tmp_path).settings() if scheme == "filesystem" else Settings(broker_url="memory://")
    source, queue, _ = source_of(settings)
    source.poll(59.0)
    assert 0 == notices.NOTICES.counts()["no-events"]
    source.poll(60.0)
    (told,) = [each for each in caplog.messages if "no event has come" in each]
    assert f"in queue celeryev.bridge of {scheme}:// for 6" in told
    assert "those of Celery?" in told
    assert ("control_folder" in told) == (scheme == "filesystem")
    assert 5 <= notices.NOTICES.counts()["no-events"] <= 6
    queue.waiting.append(b"1")
    assert [b"1"] == [message.body for message in source.poll(1.0)]
    source.poll(1.0)
    assert f"events come in queue celeryev.bridge of {scheme}://" in caplog.messages


@pytest.mark.parametrize("how", ["the sink is away", "memory is used up", "as many as may be are in hand"])
def test_what_this_one_does_not_take_is_no_silence(how: str) -> None:
    """Events wait in the queue meanwhile."""
    source, queue, clock = source_of(Settings(broker_url="memory://", prefetch=1))
    queue.waiting += [b"1", b"2"]
    if how == "the sink is away":
        source.let_go()
    elif how == "memory is used up":
        source.steer(2**40, lambda: 1)
    else:
        source.poll(1.0)
    source.poll(200.0)
    assert 0 == notices.NOTICES.counts()["no-events"]
    source.let_go()
    clock.now += 200.0
    queue.waiting.clear()
    source.steer(0, lambda: 0)
    source.consume()
    source.poll(30.0)
    assert 0 == notices.NOTICES.counts()["no-events"]
