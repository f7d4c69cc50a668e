"""Ten minutes without the sink: memory, RabbitMQ's disk, how fast the backlog drains, and how fresh events fare."""

from __future__ import annotations

import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.memory import Memory, mebibytes
from tests.support.servers import RabbitMQ, rabbitmq
from tests.support.servers.debian import until
from tests.support.stores import MAX_INFLIGHT, SqliteStore, at_full_length

SECONDS = float(os.environ.get("OUTAGE", "600"))
RATE, SIZE = 1000, 350
BURST = 30_000
"""Messages at once, for the rate without an outage."""
OVERFLOW = "celeryev.bridge.overflow"

pytestmark = [pytest.mark.fault, pytest.mark.timeout(SECONDS * 2 + 400), at_full_length]


@pytest.fixture
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """A node that nobody has used before: its disk is measured."""
    with rabbitmq(own=True) as server:
        yield server


def test_ten_minutes_without_the_sink(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Nothing is lost, memory and disk stay in their bounds, the backlog drains fast, and fresh events pass it."""
    url, store = own_rabbitmq.new_vhost(), SqliteStore(tmp_path)
    disk_before = own_rabbitmq.disk_bytes()
    bridges = [start_bridge(BRIDGE_BROKER_URL=url, **store.settings) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    memory = Memory(bridges)
    memory.start()
    undisturbed = rate_of_a_burst(url, store)
    load = Load(url, RATE, size=SIZE)
    load.start()
    until(lambda: store.count() >= BURST + RATE, 30, "events are being stored")
    store.stop()
    disks = [own_rabbitmq.disk_bytes() - disk_before for _ in ticks(SECONDS)]
    held = with_the_log_rolled_over(own_rabbitmq, url) - disk_before
    before, waiting = store.count(), oracle.depth(url, OVERFLOW)
    store.start()
    resumed = time.time()
    until(lambda: oracle.depth(url, OVERFLOW) == 0, SECONDS, "the backlog is drained", pause=0.2)
    drained = time.time() - resumed
    rate = (store.count() - before) / drained
    published = load.finish()
    until(lambda: store.count() == BURST + len(published), 120, "all is stored")
    delays = fresh_delays(store, load, resumed, resumed + drained)
    growth = memory.growth()
    for bridge in bridges:
        assert 0 == bridge.stop()
    lost = oracle.missing(published, store.bodies())
    print(
        f"{len(published)} messages of {SIZE} B, outage {SECONDS:g} s: {sum(lost.values())} lost; "
        f"{waiting} in overflow, drained in {drained:.1f} s at {rate:.0f}/s (without an outage {undisturbed:.0f}/s); "
        f"fresh events meanwhile stored after {statistics.median(delays):.3f} s (median), "
        f"{delays[len(delays) * 99 // 100]:.3f} s (99 %); "
        f"memory grew by {mebibytes(growth)} MiB over {mebibytes(memory.idle)}; "
        f"disk grew by {max(disks) / 1e6:.0f} MB at most, by {held / 1e6:.0f} MB with the log rolled over: "
        f"{held / waiting:.0f} B a message"
    )
    assert not lost
    assert max(growth) <= 3 * MAX_INFLIGHT
    assert max(disks) <= 2 * held
    assert rate >= undisturbed / 2
    assert statistics.median(delays) < 5.0, "fresh events are taken within the live queue's time to live"


def rate_of_a_burst(url: str, store: SqliteStore) -> float:
    """Messages a second that the bridges store of many at once."""
    connection = oracle.broker(url)
    confirms = oracle.Confirms(connection.channel())
    begin = time.monotonic()
    confirms.publish(oracle.numbered(10_000_000, BURST, size=SIZE))
    confirms.wait()
    connection.close()
    until(lambda: store.count() == BURST, 60, "the burst is stored")
    return BURST / (time.monotonic() - begin)


def ticks(seconds: float) -> Iterator[int]:
    """One every ten seconds, waited for as it is taken."""
    begin = time.monotonic()

    def wait(number: int) -> int:
        time.sleep(max(0.0, begin + number * 10 - time.monotonic()))
        return number

    return map(wait, range(1, int(seconds / 10) + 1))


def with_the_log_rolled_over(server: RabbitMQ, url: str) -> int:
    """Bytes that RabbitMQ takes on the disk for what its queues hold, and for nothing that is gone already.

    All queues share one log, of 512 MB before it is rolled over, in which messages stay that have moved on.
    """
    server.ctl("eval", "ra_log_wal:force_roll_over(ra_log_wal).")
    return min(server.disk_bytes() for _ in ticks(30))


def fresh_delays(store: SqliteStore, load: Load, begin: float, end: float) -> list[float]:
    """Seconds from publishing to storing, of what was published between two times."""
    connection = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)
    rows = connection.execute("SELECT json_extract(data, '$.clock'), stored_at FROM events").fetchall()
    connection.close()
    delays = (stored_at / 1e6 - load.published_at(number) for number, stored_at in rows if number < 10_000_000)
    published = [load.published_at(number) for number, _ in rows if number < 10_000_000]
    return sorted(delay for delay, at in zip(delays, published, strict=True) if begin <= at <= end)
