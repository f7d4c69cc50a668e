"""The lease as one replica sees it: when it may forward, when it asks, and when it waits."""

from __future__ import annotations

import pytest

from celery_event_bridge.brokers.redis.lease import GRACE, LEASE, RENEW, Lease, Record, Seen, seen, written
from celery_event_bridge.brokers.redis.silences import Position


def free(record: Record | None = None, token: int = 0) -> Seen:
    return Seen("", token, 1000.0, record)


def held_by(owner: str, token: int = 5, record: Record | None = None) -> Seen:
    return Seen(owner, token, 1000.0, record)


def record(owner: str = "b", run: str = "r") -> Record:
    return Record(owner, 990.0, Position("m", 1), run, "somewhere", "", owner)


def taken(before: Record | None, now: float = 100.0) -> Lease:
    """Return a lease that was asked for and is ours."""
    lease = Lease("a", "r")
    lease.asked(now)
    assert lease.answered(held_by("a", record=before), now + 0.1).taken
    return lease


def test_its_time_counts_from_when_it_was_asked_for() -> None:
    """Not from the answer: the server's time ends later in any case."""
    lease = taken(record())
    assert lease.holds(100.1)
    assert lease.holds(100.0 + LEASE - 0.01)
    assert not lease.holds(100.0 + LEASE)
    assert lease.expired(100.0 + LEASE)
    assert not lease.is_ours


def test_a_renewal_prolongs_it() -> None:
    """From when that was asked for."""
    lease = taken(record())
    lease.asked(101.0)
    assert not lease.answered(held_by("a"), 101.5).taken
    assert lease.holds(101.0 + LEASE - 0.01)
    assert not lease.holds(101.0 + LEASE)


def test_after_another_server_it_waits_for_one_that_it_cannot_see() -> None:
    """A holder may live by the word of a server that was lost with it; the same goes where there is no record."""
    for before in (None, record(run="another")):
        lease = taken(before)
        for now in (101.0, 102.0):  # renewed meanwhile
            lease.asked(now)
            lease.answered(held_by("a"), now)
            assert not lease.holds(now)
        assert lease.holds(100.1 + LEASE)


def test_what_was_its_own_it_takes_at_once() -> None:
    """Nobody else has held it since."""
    assert taken(record(owner="a", run="another")).holds(100.1)


def test_another_one_that_has_taken_it_and_said_nothing_yet_is_waited_for() -> None:
    """The last word is ours, and its lease was free too early, as the server's clock was set."""
    between = Record("b", 990.0, Position("m", 1), "r", "somewhere", "999500", said="a")
    lease = taken(between)
    assert not lease.holds(100.2)
    lease.asked(101.0)
    lease.answered(held_by("a"), 101.1)
    assert lease.holds(100.1 + LEASE)


def test_a_run_that_may_not_be_asked_for_is_nobodys() -> None:
    """Two empty ids are not the same server."""
    lease = Lease("a", "")
    lease.asked(100.0)
    lease.answered(held_by("a", record=record(run="")), 100.0)
    assert not lease.holds(100.1)


def test_who_has_heard_everything_goes_first() -> None:
    """Another one asks for a free lease only once it has been free for a while."""
    lease = Lease("a", "r")
    assert lease.action(0.0, wants=True, whole=True) == "take"
    assert lease.action(0.0, wants=True, whole=False) == "look"
    lease.asked(0.0)
    lease.answered(free(), 0.0)
    assert lease.action(GRACE - 0.01, wants=True, whole=False) == "look"
    assert lease.action(GRACE, wants=True, whole=False) == "take"
    lease.asked(GRACE)
    lease.answered(held_by("b"), GRACE)
    assert lease.action(9.0, wants=True, whole=False) == "look"


def test_who_does_not_want_it_gives_it_up() -> None:
    """And only looks afterwards."""
    lease = taken(record())
    assert lease.action(100.2, wants=False, whole=True) == "release"
    lease.asked(100.2)
    assert not lease.answered(free(), 100.3).lost, "given up, not lost"
    assert lease.action(100.4, wants=False, whole=True) == "look"


def test_one_that_was_replaced_says_so_once() -> None:
    """As where it stood still for longer than the lease."""
    lease = taken(record())
    lease.asked(200.0)
    assert lease.answered(held_by("b"), 200.1).lost
    lease.asked(201.0)
    assert not lease.answered(held_by("b"), 201.1).lost
    assert not lease.holds(201.1)


def test_on_another_connection_it_is_not_held_until_the_server_says_so() -> None:
    """What was published meanwhile another one may have heard: it goes first."""
    lease = taken(record())
    lease.new_connection("r")
    assert not lease.holds(100.2)
    assert not lease.expired(100.2), "nothing has run out"
    assert lease.is_ours, "to be given up with the last word"


def test_it_asks_one_thing_at_a_time() -> None:
    """Each RENEW seconds, and at once after a new connection, which answers nothing that was asked before."""
    lease = Lease("a", "r")
    assert lease.is_due(0.0)
    lease.asked(0.0)
    assert not lease.is_due(100.0)
    lease.answered(free(), 0.1)
    assert not lease.is_due(RENEW - 0.01)
    assert lease.is_due(RENEW)
    lease.asked(RENEW)
    lease.new_connection("other")
    assert lease.is_due(RENEW)


def renewed(at: str) -> Record:
    return Record("b", 990.0, None, "r", "somewhere", at)


def test_a_lease_that_is_gone_too_early_is_waited_out() -> None:
    """It was deleted, or the server's clock was set: its holder does not know, and forwards until it is over."""
    lease = Lease("a", "r")
    lease.asked(99.0)
    lease.answered(held_by("b", record=renewed("5")), 99.0)
    for now, seen_at in ((100.0, "6"), (100.4, "6")):
        lease.asked(now)
        lease.answered(held_by("b", record=renewed(seen_at)), now)
    lease.asked(100.8)
    assert lease.answered(held_by("a", record=renewed("6")), 100.8).taken
    assert not lease.holds(100.0 + LEASE - 0.01)
    assert lease.holds(100.0 + LEASE), "the holder's time counts from before its last renewal was seen"


def waiting() -> Lease:
    """Return a lease that was taken at 100.0, and that waits until 102.0 for another one, whose lease was deleted."""
    lease = Lease("a", "r")
    lease.asked(100.0)
    assert lease.answered(held_by("a", token=6, record=renewed("5")), 100.0).taken
    return lease


def test_who_takes_it_anew_while_it_waits_waits_on() -> None:
    """Its own lease was deleted, too: the one before, which it waits for, forwards still."""
    lease = waiting()
    lease.asked(101.0)
    own = Record("a", 990.0, None, "r", "here", "6", "a")
    assert lease.answered(held_by("a", token=7, record=own), 101.0).taken
    assert not lease.holds(100.0 + LEASE - 0.01)
    assert lease.holds(100.0 + LEASE)


def test_who_gives_it_up_while_it_waits_leaves_that_to_the_next() -> None:
    """That one would forward at once, beside the one before that forwards still."""
    assert "leave" == waiting().action(100.0 + LEASE - 0.01, wants=False, whole=True)
    assert "release" == waiting().action(100.0 + LEASE, wants=False, whole=True)


def test_what_was_taken_unbeknown_is_taken_from_the_one_before() -> None:
    """The answer was lost with the connection: who held it may forward still."""
    lease = Lease("a", "r")
    lease.asked(100.0)
    assert lease.answered(held_by("a", record=Record("a", 990.0, None, "r", "here", "7", "b")), 100.0).taken
    lease.asked(101.0)
    lease.answered(held_by("a"), 101.0)
    assert not lease.holds(100.0 + LEASE - 0.01)
    assert lease.holds(100.0 + LEASE)


def test_a_lease_that_ran_out_is_not_waited_for_again() -> None:
    """Its last renewal was seen that long ago."""
    lease = Lease("a", "r")
    lease.asked(100.0)
    lease.answered(held_by("b", record=renewed("5")), 100.0)
    lease.asked(102.1)
    assert lease.answered(held_by("a", record=renewed("5")), 102.1).taken
    assert lease.holds(102.1)


def test_at_another_server_nothing_of_ours_is_known() -> None:
    """The lease is to be taken anew there."""
    lease = taken(record())
    lease.new_connection("r2")
    assert not lease.is_ours


def test_who_holds_it_holds_on_where_the_record_is_made_anew() -> None:
    """Somebody has deleted it; its token is another one then, and nobody else has had the lease."""
    lease = taken(record())
    lease.asked(100.5)
    assert not lease.answered(held_by("a", token=9), 100.6).taken
    assert lease.holds(100.6)
    assert 9 == lease.token


def test_gaps_that_wait_are_in_the_record() -> None:
    """By the place up to which all is confirmed, so that no clock but the server's matters."""
    text = written([(5.0, 4.0), (2.5, 2.0)], 3.0)
    reply = [b"b", b"5", b"1000", b"b", b"990000", b"m", b"1", b"r", b"here", b"999", b"b", text.encode()]
    found = seen(reply).record
    assert found is not None
    assert [*found.gaps] == [(-2.0, -1.0), (0.5, 1.0)]
    assert "" == written([], 3.0)
    for spoilt in (b"[[1]]", b"\xff", b"[" * 100_000, b"[[1e999,2]]"):
        found = seen([*reply[:-1], spoilt]).record
        assert found is not None
        assert () == found.gaps


@pytest.mark.parametrize("changed", [{4: b"yesterday"}, {6: b"many"}, {8: b"\xff"}, {3: b"\xff"}, {0: b"\xff\xfe"}])
def test_what_somebody_has_written_into_it_ends_no_connection(changed: dict[int, bytes]) -> None:
    """A record that cannot be read says nothing, and a name that is none of ours is another one's."""
    reply = [b"b", b"5", b"1000", b"b", b"990", b"m", b"1", b"r", b"here", b"999", b"b", b""]
    for place, text in changed.items():
        reply[place] = text
    found = seen(reply)
    assert 5 == found.token
    assert "a" != found.holder
