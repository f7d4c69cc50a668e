"""The overflow queue at its bound: the operator is warned, what RabbitMQ drops is the oldest, and it counts the same.

`make endurance` makes it long enough for the warning to come again, and looks at how publishers fare meanwhile.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import FULL, SqliteStore

RATE, SIZE = 2000 if FULL else 1000, 350
SECONDS = 150 if FULL else 8
BOUND = (8 if FULL else 1) * 2**20
"""Of the live queue, too, which refuses more: what is published in its TTL of a second has to fit, a burst, and what a
busy machine is slow to move on: twice as much and more.
"""
SPEEDS = 5
"""Measurements of each kind, in turns."""
BURST = 5000
FIRST = 10_000_000
"""The number of the first message of those."""

pytestmark = [pytest.mark.fault, pytest.mark.timeout(SECONDS + 500)]


def dropped(server: RabbitMQ) -> int:
    """Messages that RabbitMQ has dropped at a queue's bound since its start, by its own count."""
    text = server.ctl("eval", "rabbit_global_counters:overview().")
    return sum(map(int, re.findall(r"messages_dead_lettered_maxlen_total => (\d+)", text)))


def test_past_the_bound(start_bridge: Callable[..., Bridge], rabbitmq_server: RabbitMQ, tmp_path: Path) -> None:
    """With the sink away for too long the bridge warns, and what is missing in the end is what RabbitMQ dropped."""
    rabbitmq_server.remove_vhosts()
    url, store = rabbitmq_server.new_vhost(), SqliteStore(tmp_path)
    before = dropped(rabbitmq_server)
    bounds = {"BRIDGE_OVERFLOW_MAX_BYTES": str(BOUND), "BRIDGE_QUEUE_TTL": "1", "BRIDGE_LET_GO_AFTER": "2"}
    bridge = start_bridge(BRIDGE_BROKER_URL=url, **bounds, **store.settings).await_ready()
    store.stop()
    load = Load(url, RATE, size=SIZE, total=RATE * SECONDS)
    load.start()
    warning = bridge.await_log("overflow' is nearly full", 60)
    assert int(warning["event"].partition(" % of its bound")[0].rpartition(" ")[2]) >= 80
    speeds = list(compared(url, rabbitmq_server.new_vhost())) if FULL else []
    published = load.finish(wait=True)
    until(lambda: oracle.depth(url, "celeryev.bridge") == 0, 20, "all has gone on to overflow")
    store.start()
    burst = [message.body for message in oracle.numbered(FIRST, SPEEDS * BURST, size=SIZE)] if FULL else []
    everything = published + burst
    until(
        lambda: store.count() == len(everything) - dropped(rabbitmq_server) + before,
        60,
        "all but what was dropped is stored",
    )
    missing = dropped(rabbitmq_server) - before
    warnings = [datetime.fromisoformat(line["timestamp"]) for line in bridge.logged("overflow' is nearly full")]
    assert 0 == bridge.stop()
    lost = sum(oracle.missing(everything, store.bodies()).values())
    assert missing == lost
    assert lost > 0
    assert set(published[-BOUND // SIZE // 4 :]) <= set(store.bodies()), "it is the oldest that go"
    between = [(after - before).total_seconds() for before, after in pairwise(warnings)]
    assert all(60 <= seconds for seconds in between)
    assert len(between) >= (1 if FULL else 0)
    print(f"{len(everything)} published, {lost} missing, {missing} by RabbitMQ's count, warnings {between} s apart")
    if FULL:
        print(f"messages/s with the bridge at its bound, as a share of those without a bridge: {ratios(speeds)}")


def compared(with_bridge: str, without: str) -> Iterator[tuple[float, float]]:
    """Messages a second that a worker gets rid of, in bursts, in turns."""
    declared = oracle.broker(without)
    declared.channel().exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    for turn in range(SPEEDS):
        first = FIRST + turn * BURST
        yield speed(with_bridge, first), speed(without, first)
    declared.close()


def speed(url: str, first: int) -> float:
    """The last answer shows that RabbitMQ has taken all before it; nothing waits for the confirms till then."""
    messages = oracle.numbered(first, BURST, size=SIZE)
    connection = oracle.broker(url)
    channel = connection.channel()
    confirms = oracle.Confirms(channel)
    begin = time.monotonic()
    confirms.publish(messages)
    channel.exchange_declare("celeryev", "topic", passive=True)
    took = time.monotonic() - begin
    confirms.wait()
    connection.close()
    return BURST / took


def ratios(speeds: list[tuple[float, float]]) -> str:
    shares = sorted(round(a / b, 2) for a, b in speeds)
    plain = statistics.median(without for _, without in speeds)
    return f"{statistics.median(shares)} ({shares[0]} to {shares[-1]}), {plain:.0f}/s without"
