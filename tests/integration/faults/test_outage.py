"""A sink that is away for long: nothing is lost, memory stays bounded, the backlog comes back, fresh events first.

`make endurance` makes it a minute long; by default it is short, and the bridges let go of what they hold the sooner.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.memory import Memory, mebibytes
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import FULL, MAX_INFLIGHT, Store, await_stored

SECONDS = 60.0 if FULL else 8.0
LET_GO_AFTER = "30" if FULL else "2"
pytestmark = [pytest.mark.fault, pytest.mark.timeout(SECONDS * 6 + 500)]
SMALL, LARGE = (350, 2000), (200_000, 60)
CASES = [(store, case) for store in ("sqlite", "redis", "kafka") for case in (SMALL, LARGE)]
SHORT = [("kafka", SMALL)]


@pytest.mark.parametrize(("store", "case"), CASES if FULL else SHORT, indirect=["store"])
def test_an_outage(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, store: Store, case: tuple[int, int]
) -> None:
    """Each event is stored in the end; a replica never grows by more than three times BRIDGE_MAX_INFLIGHT_BYTES."""
    size, rate = case
    broker_url = own_rabbitmq.new_vhost()
    disk_before = own_rabbitmq.disk_bytes()
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_LET_GO_AFTER": LET_GO_AFTER}
    bridges = [start_bridge(**settings) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    memory = Memory(bridges)
    memory.start()
    load = Load(broker_url, rate, size=size)
    load.start()
    until(lambda: store.count() >= rate, 30, "events are being stored")
    store.stop()
    time.sleep(SECONDS)
    disk_peak = own_rabbitmq.disk_bytes()
    store.start()
    resumed = time.monotonic()
    time.sleep(2)
    published = load.finish()
    await_stored(store, published, SECONDS * 3 + 60)
    drained = time.monotonic() - resumed
    growth = memory.growth()
    expired = sum(bridge.metric("messages_expired_total") for bridge in bridges)
    let_go = sum(len(bridge.logged("gave back")) for bridge in bridges)
    for bridge in bridges:
        assert 0 == bridge.stop()
    stored = store.bodies()
    assert Counter() == oracle.missing(published, stored)
    assert set(published) == set(stored)
    # RabbitMQ rolls its log over at 512 MB; rolled over now, it goes away if nothing in it is held any more.
    disk_after = own_rabbitmq.disk_bytes()
    own_rabbitmq.ctl("eval", "ra_log_wal:force_roll_over(ra_log_wal).")
    if case == SMALL:  # of large ones it keeps some, bounded by their number: it cuts a queue's log now and then only
        until(lambda: own_rabbitmq.disk_bytes() < disk_before + 30e6, 60, "RabbitMQ has freed its disk")
    assert let_go >= 3
    assert expired > 0
    print(
        f"{len(published)} messages of {size} B, outage {SECONDS:g} s: 0 missing, "
        f"{len(stored) - len(set(stored))} twice, {expired:.0f} through overflow, "
        f"drained in {drained:.1f} s, memory grew by {mebibytes(growth)} MiB over {mebibytes(memory.idle)}, "
        f"disk {disk_before / 1e6:.1f} -> {disk_peak / 1e6:.1f} -> {disk_after / 1e6:.1f} MB, "
        f"{own_rabbitmq.disk_bytes() / 1e6:.1f} MB with the log rolled over"
    )
    assert max(growth) <= 3 * MAX_INFLIGHT
