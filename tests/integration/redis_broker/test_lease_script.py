"""The script of the lease on a real server, beside its translation that the simulation runs."""

from __future__ import annotations

import random
import time

import pytest
from redis import Redis as Client
from redis.exceptions import ResponseError

from celery_event_bridge.brokers.redis.lease import LEASE, SCRIPT
from tests.simulation.pubsub.keys import Keys, Refused, lease_script
from tests.support.servers import Redis

NAMES = (b"celeryev.bridge.lease", b"celeryev.bridge.record")
FIELDS = ("token", "owner", "at", "mark", "events", "run", "location", "renewed", "said", "gaps")
SHORT, LONG = 60, 60_000
"""Milliseconds of a lease: it has run out after a wait, or it never does."""


@pytest.fixture
def client(own_redis: Redis) -> Client:
    return own_redis.client()


def drawn(draw: random.Random) -> list[str]:
    """Return the arguments of a call."""
    mark = draw.choice(["", "m1", "m2"])
    return [
        draw.choice("abc"), str(draw.choice([SHORT, LONG, LONG])),
        draw.choice(["look", "take", "take", "release", "leave"]), mark, str(draw.randrange(9)),
        draw.choice(["r1", "r2"]), draw.choice(["x", "y", ""]), "604800", str(draw.randrange(5000)),
        draw.choice(["", "[[-1.5,-0.5]]"]),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_the_translation_says_what_the_script_says(client: Client, seed: int) -> None:
    """With leases that run out, are deleted, made to last, and while memory is short."""
    draw, keys, short = random.Random(seed), Keys(), False
    client.flushall()
    for _ in range(150):
        step = draw.random()
        if step < 0.1:
            time.sleep(2 * SHORT / 1000)
        elif step < 0.2:
            name = draw.choice(NAMES)
            client.delete(name)
            keys.delete(name)
        elif step < 0.25 and client.persist(NAMES[0]):
            keys.put(NAMES[0], client.get(NAMES[0]).decode(), float("inf"))  # type: ignore[union-attr]
        elif step < 0.3:
            short = not short
            client.config_set("maxmemory", 1 if short else 0)
        argv = drawn(draw)
        try:
            said = client.eval(SCRIPT, 2, *NAMES, *argv)
        except ResponseError:
            assert short
            now = int(time.time() * 1000)
            with pytest.raises(Refused):
                lease_script(keys, now, NAMES, argv, oom=True)
            continue
        now = int(said[2])
        assert [bytes(part) for part in said] == lease_script(keys, now, NAMES, argv, oom=short)
        record = keys.get(NAMES[1], now) or {}
        assert {name: value.encode() for name, value in record.items()} == {
            name.decode(): value
            for name, value in client.hgetall(NAMES[1]).items()  # type: ignore[union-attr]
        }
        assert set(record) <= set(FIELDS)
    client.config_set("maxmemory", 0)


def test_a_record_that_was_deleted_is_made_anew(client: Client) -> None:
    """By the next renewal: without it who forwards would not know that it is itself who does, and say nothing."""
    argv = ["a", "2000", "take", "m", "0", "r", "x", "604800", "0", ""]
    client.flushall()
    client.eval(SCRIPT, 2, *NAMES, *argv)
    client.delete(NAMES[1])
    assert client.eval(SCRIPT, 2, *NAMES, *argv)[1] != b"0"
    assert b"a" == client.hget(NAMES[1], "owner")


def test_a_lease_lasts_no_longer_than_it_may(client: Client) -> None:
    """Also where somebody made it last, or the server's clock was set back: its holder may be dead."""
    argv = ["a", str(int(LEASE * 1000)), "take", "", "0", "r", "x", "604800", "0", ""]
    for spoil in (lambda: client.persist(NAMES[0]), lambda: client.pexpire(NAMES[0], 3_600_000)):
        client.flushall()
        client.eval(SCRIPT, 2, *NAMES, *argv)
        spoil()
        client.eval(SCRIPT, 2, *NAMES, "b", *argv[1:])
        assert 0 < client.pttl(NAMES[0]) <= LEASE * 1000  # type: ignore[operator]


@pytest.mark.parametrize(("action", "is_said"), [("release", False), ("leave", True)])
def test_who_leaves_it_says_when(client: Client, action: str, is_said: bool) -> None:
    """So that the next one waits, as this one had to."""
    argv = ["a", str(int(LEASE * 1000)), "take", "", "0", "r", "x", "604800", "0", ""]
    client.flushall()
    client.eval(SCRIPT, 2, *NAMES, *argv)
    client.eval(SCRIPT, 2, *NAMES, *argv[:2], action, *argv[3:])
    assert not client.exists(NAMES[0])
    assert is_said == bool(client.hget(NAMES[1], "renewed"))
