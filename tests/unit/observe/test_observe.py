"""The metrics: names and labels that users have in their dashboards, and histograms that count in batches."""

from __future__ import annotations

import time

import prometheus_client
import pytest
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from celery_event_bridge.config.event_types import CELERYS
from celery_event_bridge.observe.histogram import SECONDS, Histogram
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import sample_events
from tests.support.samples import value


@given(st.lists(st.lists(st.one_of(st.floats(0, 4000), st.sampled_from(SECONDS)), max_size=30), max_size=5))
def test_a_batch_counts_as_each_of_its_values(batches: list[list[float]]) -> None:
    """The histogram equals the client library's own, which takes one value at a time."""
    ours = Histogram("x", "x")
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram("x", "x", buckets=SECONDS, registry=registry)
    for batch in batches:
        ours.observe(batch)
        for seconds in batch:
            theirs.observe(seconds)
    (family,) = ours.collect()
    for sample in family.samples:
        expected = registry.get_sample_value(sample.name, sample.labels)
        assert expected == pytest.approx(sample.value)


def test_a_negative_delay_counts_as_none() -> None:
    """Clocks differ; a sum that falls would look like a restart."""
    histogram = Histogram("x", "x", "sink")
    histogram.observe([-5.0, 1.0], "redis", times=2)
    (family,) = histogram.collect()
    samples = {sample.name: sample.value for sample in family.samples}
    assert (4, 2.0) == (samples["x_count"], samples["x_sum"])


def test_counters_are_the_contracts(metrics: Metrics) -> None:
    """Their names and labels are what users have in their dashboards."""
    events = sample_events(4)
    metrics.received(10, 2, 3)
    metrics.events_received({"task-started": 2, "my-own": 3, "other-own": 1})
    metrics.rejected("content-type")
    metrics.reconnected("broker")
    metrics.forwarded("redis", events)
    metrics.retried("redis", 5)
    metrics.sent("redis", 0.2, 4)
    metrics.confirmed(events, 1.8e9)
    metrics.held([0.1, 0.2])
    assert (10, 2, 3) == tuple(
        value(metrics, f"messages_{name}_total") for name in ("received", "redelivered", "expired")
    )
    assert 2 == value(metrics, "events_received_total", type="task-started")
    assert 4 == value(metrics, "events_received_total", type="other")
    assert 1 == value(metrics, "messages_rejected_total", reason="content-type")
    assert 1 == value(metrics, "reconnects_total", end="broker")
    assert 2 == value(metrics, "events_forwarded_total", sink="redis", type="task-started")
    assert 5 == value(metrics, "sink_retries_total", sink="redis")
    assert 4 == value(metrics, "sink_send_seconds_count", sink="redis")
    assert sum(event.time is not None for event in events) == value(metrics, "event_delay_seconds_count")
    assert 2 == value(metrics, "hold_seconds_count")
    assert 1.8e9 == value(metrics, "last_confirm_timestamp_seconds")
    assert 4 == metrics.events_confirmed


def test_gauges_follow_the_status(metrics: Metrics, status: Status) -> None:
    """They are read when they are asked for."""
    assert 0 == value(metrics, "broker_connected")
    status.broker_reason = None
    status.sink_reasons = {"redis": None, "sqlite": "full"}
    status.inflight_messages, status.inflight_bytes = 3, 400
    status.queue_messages = {"celeryev.bridge": 7}
    status.oldest_inflight_since = time.monotonic() - 5
    assert 1 == value(metrics, "broker_connected")
    assert (1, 0) == tuple(value(metrics, "sink_available", sink=name) for name in ("redis", "sqlite"))
    assert (3, 400) == (value(metrics, "inflight_messages"), value(metrics, "inflight_bytes"))
    assert 7 == value(metrics, "queue_messages", queue="celeryev.bridge")
    assert 5 == pytest.approx(value(metrics, "oldest_inflight_seconds"), abs=1)


CONTRACT = {
    "messages_received_total": set(),
    "messages_redelivered_total": set(),
    "messages_expired_total": set(),
    "messages_rejected_total": {"reason"},
    "events_received_total": {"type"},
    "events_forwarded_total": {"sink", "type"},
    "sink_retries_total": {"sink"},
    "sink_send_seconds": {"sink"},
    "event_delay_seconds": set(),
    "hold_seconds": set(),
    "inflight_messages": set(),
    "inflight_bytes": set(),
    "oldest_inflight_seconds": set(),
    "queue_messages": {"queue"},
    "broker_connected": set(),
    "sink_available": {"sink"},
    "reconnects_total": {"end"},
    "notices_total": {"kind"},
    "gaps_total": set(),
    "forwarding": set(),
    "gap_seconds_total": set(),
    "events_filtered_total": {"type"},
    "unparkable_messages": set(),
    "last_confirm_timestamp_seconds": set(),
    "build_info": {"version", "python"},
}
"""Names behind the prefix, and labels."""


def used(metrics: Metrics, status: Status) -> None:
    """Let everything be counted once."""
    metrics.received(1, 1, 1)
    metrics.rejected("empty")
    metrics.events_received({"task-sent": 1})
    metrics.forwarded("redis", sample_events(1))
    metrics.retried("redis", 1)
    metrics.sent("redis", 0.1, 1)
    metrics.reconnected("broker")
    metrics.confirmed(sample_events(2), time.time())
    metrics.held([0.1])
    status.sink_reasons, status.queue_messages = {"redis": None}, {"celeryev.bridge": 1}


def test_names_and_labels_are_exactly_the_contracts(metrics: Metrics, status: Status) -> None:
    """None is missing, none is there that nobody promised, and each has its labels."""
    used(metrics, status)
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name.startswith("celery_bridge_"):
                name = sample.name.removeprefix("celery_bridge_")
                if family.type == "histogram":
                    name = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
                found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert found == CONTRACT


def test_series_without_labels_are_there_from_the_start(metrics: Metrics) -> None:
    """A rate of a counter that appears at its first increment misses that increment."""
    for name in [name for name, labels in CONTRACT.items() if not labels and not name.endswith("_seconds")]:
        assert 0 == value(metrics, name), name
    assert (0, 0) == (value(metrics, "event_delay_seconds_count"), value(metrics, "hold_seconds_sum"))
    assert (0, 0) == tuple(value(metrics, f"{name}_seconds") for name in ("oldest_inflight", "last_confirm_timestamp"))


def test_the_page_is_what_prometheus_reads(metrics: Metrics, status: Status) -> None:
    """A parser of its text finds every name with its type and a line of help."""
    used(metrics, status)
    text = prometheus_client.generate_latest(metrics.registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name in CONTRACT:
        family = families["celery_bridge_" + name.removesuffix("_total")]
        kind = "histogram" if name.endswith(("send_seconds", "delay_seconds", "hold_seconds")) else "gauge"
        assert ("counter" if name.endswith("_total") else kind, True) == (family.type, bool(family.documentation))


def test_every_type_of_celerys_has_a_label_of_its_own(metrics: Metrics) -> None:
    """Each of the eleven that its documentation names, and `task-cancelled`, received and forwarded."""
    tasks = ("sent", "received", "started", "succeeded", "failed", "rejected", "revoked", "retried", "cancelled")
    named = {*(f"task-{name}" for name in tasks), "worker-online", "worker-heartbeat", "worker-offline"}
    assert named == set(CELERYS)
    metrics.events_received(dict.fromkeys(named, 1))
    assert {1} == {value(metrics, "events_received_total", type=name) for name in named}
    assert 0 == value(metrics, "events_received_total", type="other")


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20, unique=True))
def test_whatever_a_publisher_invents_is_other(types: list[str]) -> None:
    """No number of types makes a number of series."""
    metrics = Metrics(Status())
    metrics.events_received(dict.fromkeys(types, 2))
    (family,) = [family for family in metrics.registry.collect() if family.name == "celery_bridge_events_received"]
    assert {"other"} >= {sample.labels["type"] for sample in family.samples} - set(CELERYS)
    assert 2 * len(types) == sum(sample.value for sample in family.samples)


@given(st.lists(st.tuples(st.sampled_from(["redis", "sqlite"]), st.floats(0, 4000), st.integers(1, 50)), max_size=10))
def test_a_batch_counts_each_of_its_events_under_its_sink(batches: list[tuple[str, float, int]]) -> None:
    """As the client library would, given the same value as many times."""
    ours, registry = Histogram("x", "x", "sink"), prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram("x", "x", ["sink"], buckets=SECONDS, registry=registry)
    for sink, seconds, events in batches:
        ours.observe((seconds,), sink, times=events)
        for _ in range(events):
            theirs.labels(sink).observe(seconds)
    (family,) = ours.collect()
    expected = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for other in registry.collect()
        for sample in other.samples
        if not sample.name.endswith("_created")
    }
    found = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in family.samples}
    assert expected == pytest.approx(found)


def test_an_empty_batch_makes_no_series() -> None:
    """Nor does it change one."""
    histogram = Histogram("x", "x", "sink")
    histogram.observe([], "redis")
    (family,) = histogram.collect()
    assert [] == family.samples
