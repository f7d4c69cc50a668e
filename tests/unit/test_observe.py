"""Metrics, health, HTTP and logs."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from typing import Any

import prometheus_client
import pytest
import structlog
from hypothesis import given, strategies as st

from bridge.contract import Outcome, SinkUnavailable
from bridge.observe import http, logs, status as status_module
from bridge.observe.histogram import SECONDS, Histogram
from bridge.observe.metrics import Metrics
from bridge.observe.sink import ObservedSink
from bridge.observe.status import Status
from bridge.testing import MemorySink, sample_events


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def metrics(status: Status) -> Metrics:
    return Metrics(status)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"celery_bridge_{name}", labels)


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


def test_ready_says_why_not(status: Status) -> None:
    """Both ends count, and a stop."""
    assert "broker: not connected yet" == status.ready()
    status.broker_reason = None
    status.sink_reasons["redis"] = "OOM"
    assert "redis: OOM" == status.ready()
    status.sink_reasons["redis"] = None
    assert status.ready() is None
    status.stopping = True
    assert "stopping" == status.ready()


def test_live_while_the_loop_turns(status: Status) -> None:
    """A loop that stands still for a minute is dead."""
    assert status.live() is None
    status.turned_at -= status_module.STALLED_AFTER + 1
    assert "has not turned" in str(status.live())


def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{address}{path}", method=method), timeout=5
        ) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def test_pages(metrics: Metrics, status: Status) -> None:
    """Health with its reason, metrics, and a hint for all else."""
    with http.serve(("127.0.0.1", 0), status, metrics) as address:
        assert (200, "ok\n") == get(address, "/livez")
        assert (503, "broker: not connected yet\n") == get(address, "/readyz")
        status.broker_reason = None
        assert (200, "ok\n") == get(address, "/readyz?verbose=1")
        assert (200, "") == get(address, "/readyz", "HEAD")
        code, text = get(address, "/metrics")
        assert (200, True) == (code, "celery_bridge_broker_connected 1.0" in text)
        assert "_created" not in text
        assert 404 == get(address, "/nothing")[0]
    with pytest.raises(urllib.error.URLError):
        get(address, "/livez")


def test_http_may_be_off(metrics: Metrics, status: Status) -> None:
    """Nothing listens then."""
    with http.serve(None, status, metrics) as address:
        assert "off" == address


def test_a_port_that_is_taken(metrics: Metrics, status: Status) -> None:
    """One line with the setting and the ways out."""
    with http.serve(("127.0.0.1", 0), status, metrics) as address:
        host, port = address.split(":")
        taken = http.serve((host, int(port)), status, metrics)
        with pytest.raises(OSError, match=f"BRIDGE_HTTP={address}: cannot listen there: .*or off"), taken:
            pass


def test_an_observed_sink_counts(metrics: Metrics, status: Status) -> None:
    """What was forwarded, what came back, and whether the sink is there."""
    inner = MemorySink(at_once=False)
    sink = ObservedSink(inner, metrics, status)
    assert "not tried yet" == status.sink_reasons["memory"]
    sink.open()
    assert status.sink_reasons["memory"] is None
    events = sample_events(6)
    sink.send(events[:4])
    sink.send(events[4:])
    inner.decide(Outcome.STORED, 3)
    inner.decide(Outcome.RETRY, 3, reason="away")
    assert 2 == len(sink.verdicts(0.0))
    assert "away" == status.sink_reasons["memory"]
    assert 3 == value(metrics, "sink_retries_total", sink="memory")
    assert 6 == value(metrics, "sink_send_seconds_count", sink="memory")
    inner.away = "still away"
    with pytest.raises(SinkUnavailable):
        sink.available()
    assert "still away" == status.sink_reasons["memory"]
    inner.away = None
    sink.available()
    assert 1 == value(metrics, "reconnects_total", end="memory")


@pytest.fixture
def configured() -> Any:
    """Undo what `configure` has done."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def test_a_log_line_is_json_without_secrets(capsys: pytest.CaptureFixture[str], configured: None) -> None:
    """Also what a library says through the standard library."""
    logs.configure("json", "info")
    structlog.get_logger("test").warning("away", reason="amqp://u:secret@h/", messages=3)
    structlog.get_logger("test").debug("too much")
    logging.getLogger("kombu").warning("lost %s", "redis://:secret@h")
    logging.getLogger("amqp").warning("of no interest")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ("away", "warning", "amqp://u:**@h/", 3) == (
        first["event"],
        first["level"],
        first["reason"],
        first["messages"],
    )
    assert ("lost redis://:**@h", "warning") == (second["event"], second["level"])


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str], configured: None) -> None:
    """No JSON, and no colours where there is no terminal."""
    logs.configure("console", "info")
    structlog.get_logger("test").info("started", queue="q")
    (line,) = capsys.readouterr().err.splitlines()
    assert "started" in line
    assert "queue=q" in line
    assert "\x1b" not in line
