"""The lease while the server takes no writes: who has it holds on, and who takes it next waits for that one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.lease import LEASE, Lease, Record, Seen
from celery_event_bridge.brokers.redis.silences import Position
from celery_event_bridge.contract import notices
from tests.support.redis_bench import Bench

BEFORE = Record("b", 990.0, Position("m", 1), "r", "here", "1", "b")


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def ours() -> Lease:
    """Return a lease that we have from 100.0 on."""
    lease = Lease("a", "r")
    lease.asked(100.0)
    assert lease.answered(Seen("a", 5, 1000.0, Record("a", 990.0, None, "r", "", "", "a")), 100.1).taken
    return lease


def test_a_refusal_is_as_good_as_a_renewal_once_the_others_are_told() -> None:
    """From when it was asked for."""
    lease = ours()
    lease.asked(101.0)
    assert lease.hold_on(101.1, told_at=100.9)
    assert lease.holds(101.0 + LEASE - 0.01)
    assert not lease.holds(101.0 + LEASE)


@pytest.mark.parametrize("told_at", [None, 101.05])
def test_a_refusal_of_what_was_asked_before_they_were_told_is_none(told_at: float | None) -> None:
    """Another one may have taken it at once, and would not wait."""
    lease = ours()
    lease.asked(101.0)
    assert lease.hold_on(101.1, told_at)
    assert not lease.holds(100.0 + LEASE)


def test_a_lease_that_has_run_out_is_not_held_on_to() -> None:
    """The word of it came too late."""
    lease = ours()
    lease.asked(101.0)
    assert not lease.hold_on(100.0 + LEASE, told_at=100.9)
    assert not lease.holds(100.0 + LEASE)


def test_who_takes_it_after_that_word_waits() -> None:
    """The other one stops LEASE seconds after its last refusal, and that was before."""
    for told in (False, True):
        lease = Lease("a", "r")
        lease.asked(90.0)
        lease.answered(Seen("b", 4, 990.0, BEFORE), 90.0)
        if told:
            lease.another_holds_on()
        lease.asked(100.0)
        assert lease.answered(Seen("a", 5, 1000.0, BEFORE), 100.1).taken
        assert lease.holds(100.2) is not told
        lease.asked(101.0)
        lease.answered(Seen("a", 5, 1001.0, BEFORE), 101.0)
        lease.asked(102.0)
        lease.answered(Seen("a", 5, 1002.0, BEFORE), 102.0)
        assert lease.holds(100.1 + LEASE)


def test_a_renewal_since_then_ends_the_wait() -> None:
    """The server takes writes again. Where it is seen for the first time, it may be from before."""
    for seen_before in (False, True):
        lease = Lease("a", "r")
        if seen_before:
            lease.asked(80.0)
            lease.answered(Seen("b", 4, 980.0, msgspec.structs.replace(BEFORE, renewed="0")), 80.0)
        lease.another_holds_on()
        lease.asked(90.0)
        lease.answered(Seen("b", 4, 990.0, BEFORE), 90.0)
        lease.asked(100.0)
        assert lease.answered(Seen("a", 5, 1000.0, BEFORE), 100.1).taken
        assert lease.holds(100.2) is seen_before


def test_who_forwards_goes_on_and_says_so() -> None:
    """What it cannot renew nobody can take."""
    bench = Bench()
    bench.take()
    assert not bench.link.words[-1].holds_on
    bench.link.takes_no_writes = True
    for number in range(20):
        bench.link.publish(b"%d" % number)
        assert [b"%d" % number] == bench.turn(0.4)
    assert bench.link.words[-1].holds_on
    assert "this bridge forwards on" in str(bench.source.held_up)
    assert notices.NOTICES.counts()["waiting"]
    bench.link.takes_no_writes = False
    for _ in range(3):
        bench.turn(0.5)
    assert not bench.link.words[-1].holds_on
    assert bench.source.held_up is None


def test_who_stands_by_says_whether_anybody_forwards() -> None:
    """The other one's word tells; without it nobody does."""
    bench = Bench()
    bench.link.takes_no_writes = True
    for _ in range(6):
        bench.turn(0.5)
    assert "nobody forwards" in str(bench.source.held_up)
    for number in range(3):
        bench.link.say(Control(f"b.{number}", "b", 1, None, holds_on=True))
        bench.turn(0.5)
    assert "the one that forwards goes on" in str(bench.source.held_up)
