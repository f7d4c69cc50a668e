"""The alert rules against the processes that they watch: what they name is there at the first scrape, and counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import alerts, oracle
from tests.support.audits import Following, events
from tests.support.bridges import Bridge
from tests.support.oracle import Published
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore
from tests.support.streams import in_sqlite
from tests.support.worker_events import SECOND, Sender, without

NOBODY = "amqp://127.0.0.1:1//"


def scrape(bridge: Bridge) -> alerts.Series:
    code, text = bridge.get("/metrics")
    assert code == 200
    return alerts.scraped(text)


@pytest.mark.parametrize("sinks", ["sqlite", "redis,kafka"])
def test_all_that_alerts_name_is_there_at_0_when_nothing_works(
    sinks: str, start_bridge: Callable[..., Bridge], tmp_path: Path
) -> None:
    """The first scrape of a bridge that has reached neither end yet has each series, also those with labels."""
    bridge = start_bridge(
        BRIDGE_BROKER_URL=NOBODY,
        BRIDGE_SINK=sinks,
        BRIDGE_SQLITE_PATH=str(tmp_path / "none/events.db"),
        BRIDGE_REDIS_URL="redis://127.0.0.1:1/0",
        BRIDGE_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
    )
    series = scrape(bridge)
    assert [] == alerts.not_there(alerts.FOLDER / "bridge.rules.yml", series)
    for sink in sinks.split(","):
        assert alerts.chosen(series, "celery_bridge_sink_available", {"sink": ("=", sink)})


def test_the_first_message_that_is_parked_is_an_increment(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Its series was there at 0 before, and no series has come that was not: so the alert's `increase` sees it."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    until(lambda: alerts.chosen(scrape(bridge), alerts.LOOKED_AT, {}), 20, "the queues are looked at")
    before = scrape(bridge)
    bad = Published(b"no event", {"content_type": "text/plain"}, "task.sent")
    oracle.publish(broker_url, [bad, *oracle.numbered(0, 10)])
    until(lambda: store.count() == 10, 20, "the others are stored")
    until(lambda: bridge.metric("messages_rejected_total") == 1, 20, "it is parked")
    after = scrape(bridge)
    assert set(before) == set(after)
    (parked,) = alerts.chosen(after, "celery_bridge_messages_rejected_total", {"reason": ("=", "content-type")})
    assert (0, 1) == (before[parked], after[parked])
    (told,) = alerts.chosen(after, "celery_bridge_notices_total", {"kind": ("=", "parked")})
    assert (0, 1) == (before[told], after[told])
    assert 0 == bridge.stop()


def test_the_first_batch_that_is_lost_is_an_increment(tmp_path: Path) -> None:
    """An audit that follows an empty stream shows each series at 0; what goes missing is counted, and stays so."""
    stream = in_sqlite(tmp_path)
    following = Following(tmp_path / "audit.log", "--from", stream.url, "--since", "earliest", "--settle", "1s")
    try:
        before = scrape(following.bridge)
        assert [] == alerts.not_there(alerts.FOLDER / "audit.rules.yml", before)
        sender = Sender(at=round(time.time() * 1e6) - 120 * SECOND)
        sender.beat("worker-online")
        sender.work(5, 4)
        stream.write(events(without(sender.events, "task-started", [3, 4, 5])))
        until(lambda: following.metric("found_missing_total", by="worker") == 3, 30, "three are missing")
        until(
            lambda: following.metric("found_missing_total", by="task", event="task-started") == 3, 30, "of tasks, too"
        )
        after = scrape(following.bridge)
        key = frozenset({("by", "worker"), ("event", "task-started")})
        assert (0, 3) == tuple(each["celery_bridge_audit_found_missing_total", key] for each in (before, after))
        # A worker's own series comes with its first account, and whatever comes late takes nothing off the counter.
        stream.write(events([one for one in sender.events if one["type"] == "task-started"][3:6]))
        until(lambda: following.metric("events_total", type="task-started") == 20, 30, "the late ones are counted")
        late = scrape(following.bridge)
        worker = frozenset({("worker", "w1@test")})
        assert 0 == late["celery_bridge_audit_missing_starts", worker]
        assert 3 == late["celery_bridge_audit_found_missing_total", key]
    finally:
        following.bridge.end()
        stream.sink.close()
