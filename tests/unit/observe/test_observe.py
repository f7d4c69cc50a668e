"""Metrics, health, HTTP and logs."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import prometheus_client
import pytest
import structlog
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from celery_event_bridge.config.event_types import CELERYS
from celery_event_bridge.contract import Finding, Outcome, SinkUnavailable
from celery_event_bridge.observe import http as pages, logs, status as status_module
from celery_event_bridge.observe.histogram import SECONDS, Histogram
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.sink import ObservedSink
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import MemorySink, sample_events


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
    """Both ends count, a queue that cannot be consumed, and a stop."""
    assert "broker: not connected yet" == status.ready()
    status.broker_reason = None
    status.sink_reasons["redis"] = "OOM"
    assert "redis: OOM" == status.ready()
    status.sink_reasons["redis"] = None
    assert status.ready() is None
    status.held_up = "queue 'overflow' cannot be consumed: what is in it waits"
    assert status.held_up == status.ready()
    status.held_up, status.stopping = None, True
    assert "stopping" == status.ready()


def test_healthy_once_it_has_been_ready(status: Status) -> None:
    """Whoever waits for a start sees why it does not come; an outage after it is no reason to replace anything."""
    assert "broker: not connected yet" == status.healthy()
    status.broker_reason = None
    status.sink_reasons["redis"] = None
    assert status.healthy() is None
    status.sink_reasons["redis"] = "OOM"
    status.broker_reason = "gone"
    assert status.healthy() is None
    status.turned_at -= 100
    assert "the loop has not turned for 100 s" == status.healthy()


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
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
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
    with pages.serve(None, status, metrics) as address:
        assert "off" == address


def test_a_port_that_is_taken(metrics: Metrics, status: Status) -> None:
    """One line with the setting and the ways out."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        host, port = address.split(":")
        taken = pages.serve((host, int(port)), status, metrics)
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


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk is full: the line is gone, and the caller does not notice."""
    full = Path("/dev/full").open("w")  # noqa: SIM115 - what it could not write fails its end too
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        logs.configure("json", "info")
        structlog.get_logger().info("x " * 100_000)
        logging.getLogger("library").error("x " * 100_000)
    with suppress(OSError):
        full.close()


@pytest.mark.parametrize("text", ["x" * 100_000, "a " * 50_000, "redis://:open-sesame@h/" * 5000])
def test_a_log_line_has_an_end(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever others have put into it; and no half of a password is left at that end."""
    logs.configure("json", "info")
    structlog.get_logger("test").info("away", reason=text)
    reason = json.loads(capsys.readouterr().err)["reason"]
    assert len(reason) <= logs.LONGEST + 30
    assert reason.endswith(f"... ({len(text):,} characters)")
    assert "sesame" not in reason


def test_a_log_line_is_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """No JSON, and no colours where there is no terminal."""
    logs.configure("console", "info")
    structlog.get_logger("test").info("started", queue="q")
    (line,) = capsys.readouterr().err.splitlines()
    assert "started" in line
    assert "queue=q" in line
    assert "\x1b" not in line


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


def test_not_ready_names_every_end_in_turn(status: Status) -> None:
    """The broker first, then each sink that is away, and no other."""
    status.sink_reasons = {"redis": "OOM", "stdout": None, "sqlite": "full"}
    assert "broker: not connected yet; redis: OOM; sqlite: full" == status.ready()


def test_a_loop_that_stands_still_is_neither_live_nor_ready(metrics: Metrics, status: Status) -> None:
    """Both pages say for how long; a minute to the second is still alive."""
    status.broker_reason = None
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        status.turned_at = time.monotonic() - status_module.STALLED_AFTER + 5
        assert (200, 200) == (get(address, "/livez")[0], get(address, "/readyz")[0])
        status.turned_at = time.monotonic() - status_module.STALLED_AFTER - 1
        for path in ("/livez", "/readyz"):
            code, text = get(address, path)
            assert (503, "the loop has not turned for 61 s\n") == (code, text)


def test_a_stop_makes_it_unready_and_not_dead(metrics: Metrics, status: Status) -> None:
    """It must not be killed while it finishes what is in hand."""
    status.broker_reason, status.stopping = None, True
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        assert (503, "stopping\n") == get(address, "/readyz")
        assert (200, "ok\n") == get(address, "/livez")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nothing"])
def test_head_is_get_without_the_page(metrics: Metrics, status: Status, path: str) -> None:
    """The same code, type and length, and nothing behind them."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        answers = []
        for method in ("GET", "HEAD"):
            with closing(http.client.HTTPConnection(address, timeout=5)) as connection:
                connection.request(method, path)
                answer = connection.getresponse()
                body = answer.read()
                announced = int(answer.headers["Content-Length"])
                answers.append((answer.status, answer.headers["Content-Type"], announced, len(body)))
        (code, kind, announced, length), head = answers
    assert announced == length > 0
    assert (code, kind, 0) == (*head[:2], head[3])
    assert length == pytest.approx(head[2], rel=0.01)  # the numbers in metrics change from one to the next


def test_after_the_headers_of_head_nothing_follows(metrics: Metrics, status: Status) -> None:
    """On the wire, where a client that reuses its connection would take a page for the next answer."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as answer:
            connection.sendall(b"HEAD /livez HTTP/1.0\r\n\r\n")
            assert answer.read().endswith(b"Content-Length: 3\r\n\r\n")


def test_a_page_that_is_not_there_names_those_that_are(metrics: Metrics, status: Status) -> None:
    """So that nobody has to look them up; other methods are refused."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        code, text = get(address, "/")
        assert (404, True) == (code, all(path in text for path in ("/livez", "/readyz", "/healthz", "/metrics")))
        assert 501 == get(address, "/livez", "POST")[0]


def test_a_port_that_is_taken_is_one_line(metrics: Metrics, status: Status) -> None:
    """Of the setting, the reason and the ways out; a name that is no host's as well."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"BRIDGE_HTTP=127\.0\.0\.1:") as failure:
            pages.serve(("127.0.0.1", port), status, metrics).__enter__()
    assert (
        f"BRIDGE_HTTP=127.0.0.1:{port}: cannot listen there: Address already in use: "
        "choose another port, 0 for any free one, or off"
    ) == str(failure.value)
    with pytest.raises(OSError, match=r"\ABRIDGE_HTTP=no such host:1: cannot listen there: [^\n]+\Z"):
        pages.serve(("no such host", 1), status, metrics).__enter__()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_it_listens_on_ipv6(metrics: Metrics, status: Status) -> None:
    """`[::1]:0` is an address like any other."""
    with pages.serve(("::1", 0), status, metrics) as address:
        port = int(address.rpartition(":")[2])
        assert (200, "ok\n") == get(f"[::1]:{port}", "/livez")


def observed(metrics: Metrics, status: Status) -> tuple[ObservedSink, MemorySink]:
    inner = MemorySink(at_once=False)
    sink = ObservedSink(inner, metrics, status)
    sink.open()
    return sink, inner


def test_what_is_stored_is_forwarded_and_what_is_refused_is_not(metrics: Metrics, status: Status) -> None:
    """Both were sent, and neither is a retry."""
    sink, inner = observed(metrics, status)
    events = sample_events(9)
    sink.send(events)
    inner.decide(Outcome.STORED, 6)
    inner.decide(Outcome.REFUSED, 3)
    assert [Outcome.STORED, Outcome.REFUSED] == [verdict.outcome for verdict in sink.verdicts(0.0)]
    forwarded = [
        value(metrics, "events_forwarded_total", sink="memory", type=kind)
        for kind in ("worker-heartbeat", "task-started")
    ]
    assert [2, 4] == forwarded
    assert 0 == value(metrics, "sink_retries_total", sink="memory")
    assert 9 == value(metrics, "sink_send_seconds_count", sink="memory")
    assert status.sink_reasons["memory"] is None


def test_verdicts_in_parts_count_from_the_oldest_that_is_undecided(
    metrics: Metrics, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hand-overs a second apart, decided in three parts across both."""
    sink, inner = observed(metrics, status)
    clock = [100.0]
    monkeypatch.setattr("celery_event_bridge.observe.sink.time.monotonic", lambda: clock[0])
    events = sample_events(10)
    sink.send(events[:6])
    clock[0] = 101.0
    sink.send(events[6:])
    seconds = []
    for at, count in ((102.0, 4), (103.0, 4), (104.0, 2)):
        clock[0] = at
        inner.decide(Outcome.STORED, count)
        before = value(metrics, "sink_send_seconds_sum", sink="memory") or 0
        assert 1 == len(sink.verdicts(0.0))
        after = value(metrics, "sink_send_seconds_sum", sink="memory")
        assert after is not None
        seconds.append((after - before) / count)
    assert [102.0 - 100, 103.0 - 100, 104.0 - 101] == seconds
    assert 10 == value(metrics, "sink_send_seconds_count", sink="memory")


def test_a_sink_that_is_found_again_is_counted_each_time(metrics: Metrics, status: Status) -> None:
    """The first connection is none; what comes back by storing counts as what comes back by asking."""
    sink, inner = observed(metrics, status)
    assert 0 == value(metrics, "reconnects_total", end="memory")
    for lost in (1, 2):
        sink.send(sample_events(1))
        inner.decide(Outcome.RETRY, reason="")
        sink.verdicts(0.0)
        assert "it gave events back" == status.sink_reasons["memory"]
        sink.send(sample_events(1))
        inner.decide(Outcome.STORED)
        sink.verdicts(0.0)
        assert (None, lost) == (status.sink_reasons["memory"], value(metrics, "reconnects_total", end="memory"))


def test_a_sink_that_cannot_be_opened_says_why(metrics: Metrics, status: Status) -> None:
    """Its first success afterwards is no reconnection."""
    inner = MemorySink()
    inner.away = "refused"
    sink = ObservedSink(inner, metrics, status)
    with pytest.raises(SinkUnavailable, match="refused"):
        sink.open()
    assert "refused" == status.sink_reasons["memory"]
    inner.away = None
    sink.open()
    assert (None, 0) == (status.sink_reasons["memory"], value(metrics, "reconnects_total", end="memory"))


def test_what_was_in_hand_at_a_close_is_not_waited_for(
    metrics: Metrics, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next verdict is timed from its own hand-over."""
    sink, inner = observed(metrics, status)
    clock = [100.0]
    monkeypatch.setattr("celery_event_bridge.observe.sink.time.monotonic", lambda: clock[0])
    sink.send(sample_events(3))
    sink.close()
    clock[0] = 900.0
    sink.open()
    sink.send(sample_events(2))
    clock[0] = 901.0
    inner.decide(Outcome.STORED)
    sink.verdicts(0.0)
    assert 2.0 == value(metrics, "sink_send_seconds_sum", sink="memory")


def failed(text: str) -> Exception:
    """An exception as it is caught."""
    try:
        raise ConnectionError(text)
    except ConnectionError as exc:
        return exc


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_traceback_in_the_log_has_a_secret(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """Neither ours nor a library's, in either format."""
    logs.configure(log_format, "info")
    error = failed("lost amqp://u:sesame@h/ and redis://h?password=sesame")
    structlog.get_logger("test").error("ours", exc_info=error)
    logging.getLogger("kombu").error("theirs", exc_info=error)
    text = capsys.readouterr().err
    assert (2, 2) == (text.count("amqp://u:**@h/"), text.count("redis://h?password=**"))
    assert "sesame" not in text


@pytest.mark.parametrize("log_format", ["json", None])
def test_json_where_nobody_watches(capsys: pytest.CaptureFixture[str], log_format: str | None) -> None:
    """By default, and always one line an event, with its time in UTC."""
    logs.configure(log_format, "info")
    structlog.get_logger("test").info("two\nlines", number=1)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert ("two\nlines", 1, "info") == (record["event"], record["number"], record["level"])
    assert record["timestamp"].endswith("Z")
    assert {"event", "number", "level", "timestamp"} == set(record)


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, ours: list[str], theirs: list[str]) -> None:
    """Ours as asked for; a library's from warnings on, and py-amqp's errors alone."""
    logs.configure("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("test"), name)("ours")
        getattr(logging.getLogger("kombu"), name)("theirs")
        getattr(logging.getLogger("amqp"), name)("amqp's")
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    found = {who: [r["level"] for r in records if r["event"] == who] for who in ("ours", "theirs", "amqp's")}
    assert {"ours": ours, "theirs": theirs, "amqp's": ["error"]} == found


class Watched(MemorySink):
    """A sink that looks, and advises."""

    wrong: str | None = None
    findings: tuple[Finding, ...] = ()

    def look(self) -> None:
        if self.wrong:
            raise SinkUnavailable(self.wrong)

    def advice(self) -> tuple[Finding, ...]:
        return self.findings


def test_a_look_that_finds_something_wrong_makes_the_bridge_not_ready(metrics: Metrics, status: Status) -> None:
    """And one that is content again ends what a look has found, but no other outage."""
    inner = Watched(at_once=False)
    sink = ObservedSink(inner, metrics, status)
    sink.open()
    inner.wrong = "the topic is another one"
    with pytest.raises(SinkUnavailable):
        sink.look()
    assert {"memory": "the topic is another one"} == status.sink_reasons
    inner.wrong = None
    sink.look()
    assert {"memory": None} == status.sink_reasons
    sink.send(sample_events(1))
    inner.decide(Outcome.RETRY, 1)
    sink.verdicts(0)
    sink.look()
    assert status.sink_reasons["memory"] is not None


def test_what_a_sink_advises_is_warned_of_once(
    metrics: Metrics, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    """`run` says what `check` says, after each opening, and what comes up later."""
    inner = Watched()
    sink = ObservedSink(inner, metrics, status)
    inner.findings = (Finding("ok", "fine"), Finding("warn", "one replica"))
    for _ in range(2):
        sink.open()
        sink.look()
    inner.findings += (Finding("FAIL", "compacted"),)
    sink.open()
    sink.look()
    assert ["sink memory: one replica", "sink memory: compacted"] == [r.getMessage() for r in caplog.records]
    assert 4 == value(metrics, "notices_total", kind="stream-advice")


def test_what_a_sink_no_longer_advises_is_said_and_warned_of_anew_when_it_is_back(
    metrics: Metrics, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    """Within the day in which it would not be repeated."""
    caplog.set_level("INFO")
    inner = Watched()
    sink = ObservedSink(inner, metrics, status)
    for findings in ((Finding("warn", "one replica"),), (), (Finding("warn", "one replica"),)):
        inner.findings = findings
        sink.open()
        sink.look()
    said = "sink memory: one replica"
    assert [said, f"no longer so: {said}", said] == [record.getMessage() for record in caplog.records]
