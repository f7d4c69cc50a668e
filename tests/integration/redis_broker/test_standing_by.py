"""Three bridges of one Redis broker: one forwards, the others stand by, and whatever happens to one loses nothing."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.redis_broker import KEYS, Publisher, cut, settings, stored
from tests.support.servers import Redis
from tests.support.servers.debian import until

FORWARDS = "this bridge forwards"


def forwarder(bridges: list[Bridge]) -> Bridge:
    """Return the one that took the lease last; waits for it."""

    def latest() -> tuple[str, Bridge]:
        lines = [(line["timestamp"], number) for number, each in enumerate(bridges) for line in each.logged(FORWARDS)]
        when, number = max(lines)
        return when, bridges[number]

    until(lambda: any(each.logged(FORWARDS) for each in bridges), 30, "one forwards")
    return latest()[1]


@pytest.fixture
def three(start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path) -> list[Bridge]:
    """Three that are ready, one of which forwards."""
    bridges = [start_bridge(**settings(own_redis, tmp_path / "events.db")) for _ in range(3)]
    for bridge in bridges:
        bridge.await_ready()
    forwarder(bridges)
    return bridges


def test_which_one_forwards_is_seen_from_outside(three: list[Bridge]) -> None:
    """By a gauge of each, and in the text of its readiness; when that one is gone, by another's."""
    for left in (three, [bridge for bridge in three if bridge is not forwarder(three)]):
        until(lambda left=left: 1 == sum(each.metric("forwarding") for each in left), 20, "one says so")  # type: ignore[misc]
        for bridge in left:
            text = "ok\n" if bridge.metric("forwarding") else "ok: this bridge stands by\n"
            assert (200, text) == bridge.get("/readyz")
        if left is three:
            forwarder(three).kill()


@pytest.mark.parametrize("how", ["killed", "frozen", "stopped", "cut off"])
def test_the_one_that_forwards_is_lost_and_nothing_with_it(
    three: list[Bridge], own_redis: Redis, tmp_path: Path, how: str
) -> None:
    """Another one takes over with what was not confirmed; nothing but the lease and its record is in the broker."""
    publisher, file = Publisher(own_redis.url), tmp_path / "events.db"
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    first = forwarder(three)
    rest = [bridge for bridge in three if bridge is not first]
    if how == "killed":
        first.kill()
    elif how == "frozen":
        first.process.send_signal(signal.SIGSTOP)
    elif how == "stopped":
        first.process.terminate()
    else:
        with own_redis.client() as client:
            cut(client, first.process.pid)
    until(lambda: any(each.logged(FORWARDS) for each in rest), 20, "another one forwards")
    before = len(publisher.sent)
    until(lambda: len(publisher.sent) > before + 300, 20, "more is published")
    first.process.send_signal(signal.SIGCONT) if how == "frozen" else None
    sent = publisher.finish()
    until(lambda: sent <= stored(file), 20, "all is stored")
    with own_redis.client() as client:
        assert set(client.keys()) <= KEYS
    assert 0 == sum(each.metric("gaps_total") for each in rest)


def test_all_are_cut_off_at_once(three: list[Bridge], own_redis: Redis, tmp_path: Path) -> None:
    """They subscribe again at once; the gap is told of, and is as long as what is missing shows."""
    publisher, file = Publisher(own_redis.url, rate=1000), tmp_path / "events.db"
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    with own_redis.client() as client:
        cut(client, *(bridge.process.pid for bridge in three))
    until(lambda: sum(bridge.metric("gaps_total") for bridge in three) > 0, 20, "the gap is counted")
    sent = publisher.finish()
    last = max(sent, key=publisher.sent.__getitem__)
    until(lambda: last in stored(file), 20, "all that was heard is stored")
    lost = [publisher.sent[uuid] for uuid in sent - stored(file)]
    told = sum(bridge.metric("gap_seconds_total") for bridge in three)
    missed = max(lost) - min(lost) if lost else 0.0
    assert missed - 0.1 <= told <= missed + 1.0


def test_redis_restarts(three: list[Bridge], own_redis: Redis, tmp_path: Path) -> None:
    """They forward again without a restart of their own, and what had been heard before is stored."""
    publisher, file = Publisher(own_redis.url), tmp_path / "events.db"
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    before = publisher.finish()
    own_redis.kill()
    own_redis.start()
    again = Publisher(own_redis.url)
    again.start()
    count = len(oracle.in_sqlite(file))
    until(lambda: len(oracle.in_sqlite(file)) > count + 100, 30, "events are stored again")
    again.finish()
    assert before <= stored(file)


def test_a_lock_on_the_sinks_file_costs_no_lease(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """Another program that writes into it holds up the events, and not who forwards them."""
    file = tmp_path / "events.db"
    bridge = start_bridge(**settings(own_redis, file)).await_ready()
    publisher = Publisher(own_redis.url)
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        for _ in range(3):
            other.execute("BEGIN IMMEDIATE")
            before = len(publisher.sent)
            until(lambda: len(publisher.sent) > before + 300 * 3, 30, "it holds the lock for three seconds")  # noqa: B023
            other.execute("ROLLBACK")
            until(lambda: len(stored(file)) > before, 20, "events are stored again")  # noqa: B023
    sent = publisher.finish()
    until(lambda: sent <= stored(file), 20, "all is stored")
    assert [] == bridge.logged("the lease has run out")
    assert 1 == len(bridge.logged(FORWARDS))
