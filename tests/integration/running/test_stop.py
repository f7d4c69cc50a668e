"""Stopping: what is in hand is finished, in time, and nothing is stored twice; a second signal ends at once."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.servers import Redis
from tests.support.servers.debian import PATIENCE, until
from tests.support.stores import FULL, RedisStore, SqliteStore, Store, await_stored

STOPS = 10 if FULL else 3

pytestmark = [pytest.mark.fault]


@pytest.mark.parametrize("store", ["sqlite", "redis", "kafka"] if FULL else ["kafka"], indirect=True)
def test_ten_stops_under_load(start_bridge: Callable[..., Bridge], broker_url: str, store: Store) -> None:
    """At 2,000 messages a second, up to ten SIGTERMs: exit code 0, within the timeout, no id twice on the wire."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SHUTDOWN_TIMEOUT": "10"}
    first = start_bridge(**settings).await_ready()
    other = start_bridge(**settings).await_ready()
    load = Load(broker_url, 2000)
    load.start()
    forwarded = 0.0
    longest = 0.0
    for _ in range(STOPS):
        await_load(first)
        begin = time.monotonic()
        assert 0 == first.stop(), first.log()
        longest = max(longest, time.monotonic() - begin)
        first, other = other, start_bridge(**settings).await_ready()
        forwarded += 1
    published = load.finish()
    await_stored(store, published, 60)
    for bridge in (first, other):
        assert 0 == bridge.stop()
    stored = store.bodies()
    assert Counter(published) == Counter(stored)
    assert longest < 10
    print(f"{len(published)} messages, {STOPS} stops, the longest {longest:.2f} s, 0 missing, 0 twice")


def await_load(bridge: Bridge) -> None:
    seen = bridge.metric("messages_received_total")
    until(lambda: bridge.metric("messages_received_total") > seen + 500, 20, "the bridge is under load")


def test_no_event_is_forwarded_twice_by_stops(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """SQLite would hide what is sent twice, so the bridges' own counts have to add up to what was published."""
    store = SqliteStore(tmp_path)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    load = Load(broker_url, 2000)
    forwarded = 0
    for _ in range(3):
        bridge = start_bridge(**settings).await_ready()
        if not load.ident:
            load.start()
        await_load(bridge)
        assert 0 == bridge.stop()
        forwarded += int(bridge.logged("stopped")[0]["forwarded"])
    published = load.finish()
    bridge = start_bridge(**settings).await_ready()
    await_stored(store, published, 60)
    assert 0 == bridge.stop()
    assert len(published) == forwarded + int(bridge.logged("stopped")[0]["forwarded"])


def test_the_end_of_a_terminal_is_a_clean_stop(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """SIGHUP finishes what is in hand, as SIGTERM does; a bridge that `nohup` has started takes no notice."""
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url}
    left = start_bridge(f"nohup {sys.executable} -m celery_event_bridge run", **settings).await_ready()
    bridge = start_bridge(**settings).await_ready()
    for each in (left, bridge):
        each.process.send_signal(signal.SIGHUP)
    assert 0 == bridge.process.wait(40)
    assert bridge.logged("stopped")
    left.await_ready()
    assert 0 == left.stop()


@pytest.mark.parametrize("as_process_1", [False, True], ids=["plain", "process 1"])
def test_a_second_signal_ends_at_once(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis, as_process_1: bool
) -> None:
    """While the first stop waits for a sink that does not answer, a second SIGTERM ends the process in a moment."""
    command = None
    if as_process_1:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            pytest.skip("a process namespace can be made by root only")
        command = f"unshare --pid --fork --kill-child {sys.executable} -m celery_event_bridge run"
    bridge = start_bridge(command, **RedisStore(own_redis).settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    own_redis.pause()
    oracle.publish(broker_url, oracle.numbered(0, 10))
    until(lambda: bridge.metric("messages_received_total") == 10, 20, "messages are in hand")
    pid = the_bridge_itself(bridge) if as_process_1 else bridge.process.pid
    os.kill(pid, signal.SIGTERM)
    begin = time.monotonic()
    # Again and again, since two that arrive together are one.
    until(lambda: bridge.process.poll() is not None or os.kill(pid, signal.SIGTERM), 20, "the bridge has ended")
    assert time.monotonic() - begin < 2 * PATIENCE
    assert 128 + signal.SIGTERM == bridge.process.returncode
    own_redis.resume()


def the_bridge_itself(bridge: Bridge) -> int:
    """The child of `unshare`, by its number outside of the namespace."""
    children = Path(f"/proc/{bridge.process.pid}/task/{bridge.process.pid}/children").read_text().split()
    return int(children[0])


@pytest.mark.parametrize("store", ["sqlite", "redis", "kafka"] if FULL else ["sqlite", "redis"], indirect=True)
def test_a_stop_while_the_sink_is_away(start_bridge: Callable[..., Bridge], broker_url: str, store: Store) -> None:
    """It does not wait for the sink: exit code 0, one warning that counts what goes back, and nothing is lost."""
    settings = store.settings | {
        "BRIDGE_BROKER_URL": broker_url,
        "BRIDGE_QUEUE_TTL": "0",
        "BRIDGE_SHUTDOWN_TIMEOUT": "100",
    }
    bridge = start_bridge(**settings).await_ready()
    store.stop()
    messages = oracle.numbered(0, 30)
    oracle.publish(broker_url, messages)
    bridge.await_log("sink unavailable", 30)
    until(lambda: bridge.metric("messages_received_total") == 30, 30, "all messages are in hand")
    begin = time.monotonic()
    assert 0 == bridge.stop()
    assert time.monotonic() - begin < 12 * PATIENCE
    (warning,) = bridge.logged("goes back")
    assert ("warning", 30) == (warning["level"], warning["messages"])
    store.start()
    again = start_bridge(**settings)
    until(lambda: store.count() >= 30, 30, "all is stored")
    assert 0 == again.stop()
    assert {message.body for message in messages} == set(store.bodies())
