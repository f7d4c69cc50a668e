"""Replicas killed again and again under load: nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.stores import FULL, Store, await_stored

MESSAGES = 100_000 if FULL else 30_000
RATE = 5000
KILL_EVERY = 2.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


@pytest.mark.parametrize("store", ["sqlite", "redis", "kafka"] if FULL else ["redis"], indirect=True)
def test_a_replica_killed_every_two_seconds(start_bridge: Callable[..., Bridge], broker_url: str, store: Store) -> None:
    """Of three replicas one is killed every two seconds and replaced; each of up to 100,000 messages is stored."""
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    replicas = [start_bridge(**settings) for _ in range(3)]
    for replica in replicas:
        replica.await_ready()
    load = Load(broker_url, RATE, total=MESSAGES)
    load.start()
    kills = 0
    for position in cycle(range(3)):
        next_kill = time.monotonic() + KILL_EVERY
        while load.is_alive() and time.monotonic() < next_kill:
            time.sleep(0.02)
        if not load.is_alive():
            break
        replicas[position].kill()
        kills += 1
        replicas[position] = start_bridge(**settings)
    published = load.finish(wait=True)
    assert kills >= MESSAGES / RATE / KILL_EVERY - 1
    await_stored(store, published, 60)
    for replica in replicas:
        assert 0 == replica.stop()
    stored = store.bodies()
    assert Counter() == oracle.missing(published, stored)
    assert set(published) == set(stored)
    print(f"{MESSAGES} messages, {kills} kills, {len(stored) - len(set(stored))} duplicates on the wire, 0 missing")
