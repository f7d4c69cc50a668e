"""A server that was not there is no gap, where that is certain; another one beside ours may be a longer one."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import MasterNotFoundError

from celery_event_bridge.brokers.redis.away import Away, Came
from celery_event_bridge.brokers.redis.lease import Record, Seen
from celery_event_bridge.brokers.redis.server import Server
from celery_event_bridge.contract.broker import BrokerUnavailable


def failure(cause: BaseException | None = None) -> BrokerUnavailable:
    """Return what an attempt to connect raises, as redis-py wraps it: by the context alone."""
    exc = BrokerUnavailable("no")
    exc.__cause__ = RedisConnectionError("Error 111")
    exc.__cause__.__context__ = cause
    return exc


def refused() -> BrokerUnavailable:
    return failure(ConnectionRefusedError())


def nobody(sentinels_away: int) -> BrokerUnavailable:
    errors = ", ".join(f"s{number} - ConnectionError()" for number in range(sentinels_away))
    exc = BrokerUnavailable("no")
    exc.__cause__ = MasterNotFoundError(f"No master found for 'm'{f' : {errors}' if errors else ''}")
    return exc


def away(*failures: tuple[float, BaseException], sentinels: int = 0, alone: bool = True) -> Away:
    found = Away(sentinels, alone=alone)
    for now, exc in failures:
        found.failed(exc, now)
    return found


def test_from_the_first_refusal_to_the_last_there_was_no_server() -> None:
    """And until it began, if it says when."""
    some = [(10.0, refused()), (12.0, refused())]
    assert away(*some).ended(Server(run="b", uptime=2), "a", 15.0) == (10.0, 12.0)
    assert away(*some).ended(Server(run="b", uptime=0), "a", 15.0) == (10.0, 14.0)
    assert away((10.0, refused())).ended(Server(run="b"), "a", 15.0) is None


def test_a_server_that_was_there_all_the_while_may_have_been_published_to() -> None:
    """Something between has refused: the same process answers, or one that is older than the last refusal."""
    some = [(10.0, refused()), (12.0, refused())]
    assert away(*some).ended(Server(run="a", uptime=2), "a", 15.0) is None
    assert away(*some).ended(Server(run="b", uptime=100), "a", 15.0) is None
    assert away(*some).ended(Server(uptime=1), "", 15.0) is None


def test_a_network_that_is_cut_proves_nothing() -> None:
    """The others may have reached the server."""
    late = failure(TimeoutError())
    assert away((10.0, late), (12.0, late)).ended(Server(run="b", uptime=0), "a", 15.0) is None
    assert away((10.0, late), (12.0, refused())).ended(Server(run="b", uptime=0), "a", 15.0) == (12.0, 14.0)


def test_no_master_is_none_to_publish_to_if_a_sentinel_has_said_so() -> None:
    """The one that they name next is older; the first that refused was the one before."""
    new = Server(run="b", uptime=1000)
    assert away((10.0, refused()), (12.0, nobody(2)), sentinels=3).ended(new, "a", 15.0) == (10.0, 12.0)
    assert away((10.0, refused()), (12.0, nobody(3)), sentinels=3).ended(new, "a", 15.0) is None
    assert away((10.0, nobody(0)), (12.0, nobody(0)), sentinels=3).ended(new, "a", 15.0) is None


def test_at_one_of_several_addresses_it_proves_nothing() -> None:
    """Others may have gone to the next one before us."""
    some = [(10.0, refused()), (12.0, refused())]
    assert away(*some, alone=False).ended(Server(run="b", uptime=2), "a", 15.0) is None


def test_an_outage_that_is_over_is_not_that_of_the_next_one() -> None:
    """Each begins with a refusal of its own."""
    one = away((10.0, refused()), (12.0, refused()))
    one.ended(Server(run="b", uptime=1), "a", 15.0)
    assert one.ended(Server(run="c", uptime=0), "b", 30.0) is None


@pytest.mark.parametrize(
    ("token", "renewed", "uptime", "missed"),
    [
        (7, "990000", None, 20.0),
        (5, "997000", None, None),
        (5, "990000", None, 10.0),
        (7, "990000", 4, 5.0),
        (7, "990000", 0, None),
    ],
)
def test_what_was_published_beside_us_began_after_what_both_servers_knew(
    token: int, renewed: str, uptime: int | None, missed: float | None
) -> None:
    """The record says up to when all is confirmed; a lease that we knew was renewed later, and a process is as old."""
    seen = Seen("b", token, 1000.0, Record("b", 980.0, None, "r", "here", renewed, "b"))
    assert missed == Came(100.0, 2.5, uptime, [4, 5]).missed(seen, 100.0)


def test_without_a_record_nothing_is_known() -> None:
    """Somebody has deleted it, or nobody has forwarded there."""
    assert Came(100.0, 2.0, None, []).missed(Seen("", 0, 1000.0, None), 100.0) is None
