"""The Prometheus metrics of the contract. Counted a batch at a time, never an event at a time.

Every series whose labels can be known is there from the start, at 0: of one that appears with its first increment,
`increase` and `rate` do not see that increment, and no alert fires for it.
"""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from celery_event_bridge.config.event_types import CELERYS
from celery_event_bridge.contract import REASONS, notices
from celery_event_bridge.observe.histogram import Histogram
from celery_event_bridge.version import __version__

if TYPE_CHECKING:
    from celery_event_bridge.contract import Event
    from celery_event_bridge.observe.status import Status

P = "celery_bridge_"
OTHER = "other"
"""The label of event types that are not Celery's."""
TYPES = (*CELERYS, OTHER)
"""Labels of event types, all of them."""


class Metrics:
    """Counters for the relay and its sinks, in a registry of their own; what `status` knows is read when asked for."""

    def __init__(self, status: Status) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self._messages = Counter(P + "messages_received", "Messages taken from the broker", registry=registry)
        self._redelivered = Counter(P + "messages_redelivered", "Messages delivered before", registry=registry)
        self._expired = Counter(P + "messages_expired", "Messages that came through overflow", registry=registry)
        self._rejected = Counter(P + "messages_rejected", "Messages parked", ["reason"], registry=registry)
        self._events = Counter(P + "events_received", "Events taken from the broker", ["type"], registry=registry)
        self._filtered = Counter(
            P + "events_filtered", "Events that BRIDGE_EVENT_TYPES leaves out", ["type"], registry=registry
        )
        self._forwarded = Counter(
            P + "events_forwarded", "Events confirmed by a sink", ["sink", "type"], registry=registry
        )
        self._retries = Counter(P + "sink_retries", "Events a sink did not store at once", ["sink"], registry=registry)
        self._reconnects = Counter(
            P + "reconnects", "Times an end was lost and found again", ["end"], registry=registry
        )
        # Of few labels, each looked up with every batch: kept, it is not looked for under a lock.
        self._events_of, self._forwarded_of = cache(self._events.labels), cache(self._forwarded.labels)
        self._send = Histogram(P + "sink_send_seconds", "From hand-over to a sink to its verdict", "sink")
        self._delay = Histogram(P + "event_delay_seconds", "From an event's own time to its confirm")
        self._hold = Histogram(P + "hold_seconds", "From taking a message off the broker to its last confirm")
        self._last_confirm = Gauge(
            P + "last_confirm_timestamp_seconds", "When a sink last confirmed", registry=registry
        )
        Info(P + "build", "Version of the bridge", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        for name in TYPES:
            self._events.labels(name)
            self._filtered.labels(name)
        for reason in REASONS:
            self._rejected.labels(reason)
        self._reconnects.labels("broker")
        self.events_confirmed = 0
        """Events that all selected sinks have confirmed."""
        for collector in (self._send, self._delay, self._hold, _StatusCollector(status)):
            registry.register(collector)
        ProcessCollector(registry=registry)

    def begin(self, sink: str) -> None:
        """Show the series of a sink from now on, at 0."""
        for name in TYPES:
            self._forwarded.labels(sink, name)
        self._retries.labels(sink)
        self._reconnects.labels(sink)
        self._send.begin(sink)

    def received(self, messages: int, redelivered: int, expired: int) -> None:
        """Count messages taken from the broker, and how many of them had been delivered before or had expired."""
        self._messages.inc(messages)
        if redelivered:
            self._redelivered.inc(redelivered)
        if expired:
            self._expired.inc(expired)

    def events_received(self, types: Mapping[str, int]) -> None:
        """Count the events that were in them, by type."""
        for name, count in types.items():
            self._events_of(type_label(name)).inc(count)

    def events_filtered(self, types: Mapping[str, int]) -> None:
        """Count events that were left out, by type."""
        for name, count in types.items():
            self._filtered.labels(type_label(name)).inc(count)

    def rejected(self, reason: str) -> None:
        """Count a message that was parked."""
        self._rejected.labels(reason).inc()

    def reconnected(self, end: str) -> None:
        """Count an end that had been lost and is there again."""
        self._reconnects.labels(end).inc()

    def confirmed(self, events: Sequence[Event], now: float) -> None:
        """Count events that all selected sinks have; `now` in seconds since 1970."""
        self._delay.observe([now - event.time / 1e6 for event in events if event.time is not None])
        self._last_confirm.set(now)
        self.events_confirmed += len(events)

    def held(self, seconds: Sequence[float]) -> None:
        """Count how long each of some messages was in hand."""
        self._hold.observe(seconds)

    def forwarded(self, sink: str, events: Sequence[Event]) -> None:
        """Count events that a sink has confirmed."""
        for name, count in Tally([event.type for event in events]).items():
            self._forwarded_of(sink, type_label(name)).inc(count)

    def retried(self, sink: str, events: int) -> None:
        """Count events that a sink has given back."""
        self._retries.labels(sink).inc(events)

    def sent(self, sink: str, seconds: float, events: int) -> None:
        """Count the seconds that a sink has taken to decide on so many events."""
        self._send.observe((seconds,), sink, times=events)


def type_label(event_type: str) -> str:
    """Return the label of an event's type: a publisher can invent any number of them."""
    return event_type if event_type in CELERYS else OTHER


class _StatusCollector(Collector):
    """Gauges read from the status when they are asked for."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        status = self._status
        since = status.oldest_inflight_since
        yield _gauge("inflight_messages", "Messages in hand, unconfirmed", status.inflight_messages)
        yield _gauge("inflight_bytes", "Bytes in hand, unconfirmed", status.inflight_bytes)
        yield _gauge(
            "oldest_inflight_seconds",
            "For how long the oldest message has been in hand",
            0.0 if since is None else time.monotonic() - since,
        )
        yield _gauge(
            "unparkable_messages", "Messages that can be neither forwarded nor parked now", status.unparkable_messages
        )
        yield _gauge("broker_connected", "1 if connected to the broker", status.broker_reason is None)
        yield _gauge("forwarding", "1 if this bridge forwards, and does not stand by", status.forwarding)
        available = GaugeMetricFamily(P + "sink_available", "1 if the sink stores", labels=["sink"])
        for name, reason in dict(status.sink_reasons).items():
            available.add_metric([name], float(reason is None))
        yield available
        queues = GaugeMetricFamily(P + "queue_messages", "Messages ready in a queue, as last seen", labels=["queue"])
        for name, messages in dict(status.queue_messages).items():
            queues.add_metric([name], messages)
        yield queues
        told = CounterMetricFamily(P + "notices", "What others changed, or was dropped or made anew", labels=["kind"])
        counts = notices.NOTICES.counts()
        for kind, count in counts.items():
            told.add_metric([kind], count)
        yield told
        yield CounterMetricFamily(P + "gaps", "Gaps on the way into the live queue", value=counts["gap"])
        lasted = notices.NOTICES.seconds("gap")
        yield CounterMetricFamily(P + "gap_seconds", "Length of the gaps, of those where it is known", value=lasted)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(P + name, documentation, value=float(value))
