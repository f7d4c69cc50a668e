"""Helpers for tests of your own: a broker and a sink in memory, and what every sink, reader and broker has to hold.

`FakeSource` keeps RabbitMQ's rules, `MemorySink` stores or fails as it is told, and a class derived from
`SinkContract`, `ReaderContract` or `BrokerContract` tests one of yours with pytest.
"""

from __future__ import annotations

from celery_event_bridge.testing.brokers import BrokerContract as BrokerContract
from celery_event_bridge.testing.fakes import (
    FakeSource as FakeSource,
    MemorySink as MemorySink,
    sample_events as sample_events,
)
from celery_event_bridge.testing.readers import ReaderContract as ReaderContract
from celery_event_bridge.testing.sinks import (
    SinkContract as SinkContract,
    await_available as await_available,
    await_verdicts as await_verdicts,
    deliver as deliver,
)
