"""Simulated worlds keep every promise, play the same again, and find a bridge that is broken on purpose."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from celery_event_bridge.audit.tasks import Task
from celery_event_bridge.forward import ledger
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.relay import Relay
from tests.simulation.kinds import KINDS, Kind
from tests.simulation.play import Play
from tests.simulation.process import Process
from tests.simulation.run import play, plays, shrunk
from tests.simulation.scheduler import World
from tests.simulation.virtual import virtual
from tests.support.bridges import clean_environment
from tests.support.servers.debian import ROOT

FIXED, FRESH = {"contract": 10, "reading": 2}, 6.0
"""Seeds of each kind that are always played, 3 where nothing is said, and seconds for new ones."""


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_seeds_keep_every_promise(kind: str) -> None:
    """They are the same each time, so that a change of the bridge alone can break one."""
    for seed in range(FIXED.get(kind, 3)):
        done, _ = play(kind, str(seed))
        assert not done.failure, f"seed {seed} in the world {kind}: {done.failure}"


def test_fresh_seeds_keep_every_promise() -> None:
    """Each run of the tests plays some that nobody has played before; a failure has the seed in its text."""
    done = [*plays([*KINDS], secrets.randbelow(10**9), FRESH)]
    assert done
    assert [] == [f"seed {one.seed} in the world {one.kind}: {one.failure}" for one in done if one.failure]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_plays_the_same_again(kind: str) -> None:
    """To the last line of its trace, also in a process that hashes texts otherwise."""
    program = f"from tests.simulation.run import play; print(*[play({kind!r}, str(n))[0].digest for n in range(2)])"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=clean_environment() | {"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert 1 == len(found)
    (digests,) = found
    assert 2 == len(set(digests.split()))


@pytest.mark.parametrize(
    "reach",
    [
        lambda: subprocess.run(["true"]),
        socket.SocketType,
    ],
    ids=["a process", "a socket"],
)
def test_a_play_that_reaches_the_machine_ends(reach: Callable[[], object]) -> None:
    """Else what happens would depend on more than the seed."""
    world = World("sealed")
    process = Process(world, "one", reach)
    process.start()
    with virtual(world, Kind.in_place), pytest.raises(AssertionError, match="a play has reached the machine"):
        world.run(1.0)


# Broken on purpose --------------------------------------------------------------------------------------------------


def acknowledge_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is owed any more as soon as it is in hand."""
    enter = ledger.Ledger.enter

    def owes_nothing(self: ledger.Ledger[object], *arguments: object, **more: object) -> object:
        delivery = enter(self, *arguments, **more)
        delivery.owes = 0
        return delivery

    monkeypatch.setattr(ledger.Ledger, "enter", owes_nothing)
    monkeypatch.setattr(ledger.Ledger, "stored", lambda self, deliveries: [*deliveries] and [])


def keep_old_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in hand when the channels closed is acknowledged all the same."""
    monkeypatch.setattr(ledger.Ledger, "forget", lambda self: self.messages)


def hand_over_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be tried again is handed over, and kept to be handed over once more."""
    hand_over = Driver.hand_over

    def again(self: Driver[object], now: float) -> None:
        kept = [*self._again]
        hand_over(self, now)
        self._again = kept

    monkeypatch.setattr(Driver, "hand_over", again)


def never_connect_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after a lost connection never ends."""
    lose = Relay._lose_broker

    def lose_for_good(self: Relay, exc: Exception) -> None:
        lose(self, exc)
        self._broker_outage.due = float("inf")

    monkeypatch.setattr(Relay, "_lose_broker", lose_for_good)


@pytest.mark.parametrize(
    ("break_it", "sort"),
    [
        (acknowledge_first, "lost"),
        (keep_old_tags, "channel"),
        (hand_over_twice, "again"),
        (never_connect_again, "held up"),
    ],
)
def test_a_broken_bridge_is_found(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], sort: str
) -> None:
    """Within a few seeds, by the verdict that is due."""
    break_it(monkeypatch)
    failures = [done.failure for seed in range(10) if (done := play("contract", str(seed))[0]).failure]
    assert [one for one in failures if sort in one.splitlines()[0]]


def test_a_failing_schedule_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the faults that it takes, which fail in the same way by themselves."""
    never_connect_again(monkeypatch)
    failed = next(done for seed in range(10) if (done := play("contract", str(seed))[0]).failure)
    cards, best, _ = shrunk(failed, 30.0)
    assert 1 <= len(cards) <= 3
    assert best.sort == failed.sort
    assert Play(failed.seed, "contract", cards).cards == cards


def test_an_audit_that_finds_too_little_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts that are gone of tasks that are over are compared with what the world has dropped."""
    monkeypatch.setattr(Task, "runs", property(lambda self: self.started))
    failures = [done.failure for seed in range(3) if (done := play("account", str(seed))[0]).failure]
    assert failures
    assert all(failure.startswith("account:") for failure in failures), failures
