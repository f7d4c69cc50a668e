"""Fixtures of the tests of Kafka: sinks that are closed with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celery_event_bridge.testing import await_available
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.kafka_sinks import DEADLINE, sink
from tests.support.servers import Kafka


@pytest.fixture
def opened() -> Iterator[Callable[..., KafkaSink]]:
    """Makes sinks that are there, each with a topic of its own; they are closed with the test."""
    made: list[KafkaSink] = []

    def open_one(server: Kafka, **settings: Any) -> KafkaSink:
        made.append(sink(server, **settings))
        made[-1].open()
        await_available(made[-1], DEADLINE)
        return made[-1]

    yield open_one
    for one in made:
        one.close()
