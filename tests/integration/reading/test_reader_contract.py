"""Our own readers hold what every reader has to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from celery_event_bridge.contract import Event, Reader, Reading
from celery_event_bridge.reading.streams import find
from celery_event_bridge.testing import ReaderContract
from tests.support.streams import Stream, of_kind


@pytest.mark.parametrize("kind", ["sqlite", "redis", "kafka"])
class TestOurs(ReaderContract):
    """Each stream in turn, with nothing in it."""

    @pytest.fixture
    def stream(self, kind: str, request: pytest.FixtureRequest) -> Iterator[Stream]:
        made = of_kind(kind, request)
        with closing(made.sink):
            yield made

    @pytest.fixture
    def make_reader(self, stream: Stream) -> Callable[[Reading], Reader]:
        plugin, settings = find(stream.url)
        return lambda reading: plugin(settings, reading)

    @pytest.fixture
    def store(self, stream: Stream) -> Callable[[Sequence[Event]], object]:
        return stream.write
