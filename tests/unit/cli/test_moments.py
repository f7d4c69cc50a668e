"""Moments as people write them."""

from __future__ import annotations

import datetime
import time
from zoneinfo import ZoneInfo

import pytest

from celery_event_bridge.cli.moments import is_fixed, moment

NOW = datetime.datetime(2026, 11, 28, 10, 0, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone of this machine, for a test."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


@pytest.fixture(autouse=True, scope="module")
def as_before() -> object:
    """The zone is read anew once the tests are done with it."""
    yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-28", "2026-11-28T00:00:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00:00+02:00"),
        ("2026-11-28 09:30", "2026-11-28T09:30:00+01:00"),
        ("2026-11-28 09:30:01.250", "2026-11-28T09:30:01.250+01:00"),
        ("2026-11-28T09:30:00Z", "2026-11-28T09:30:00+00:00"),
        ("09:00", "2026-11-28T09:00:00+01:00"),
        ("9:00", "2026-11-28T09:00:00+01:00"),
        ("9:00:30", "2026-11-28T09:00:30+01:00"),
        ("14:00:30.5", "2026-11-27T14:00:30.5+01:00"),
        ("today", "2026-11-28T00:00:00+01:00"),
        ("Yesterday", "2026-11-27T00:00:00+01:00"),
        ("now", "2026-11-28T10:00:00+01:00"),
    ],
)
def test_times(text: str, meant: str) -> None:
    """In this machine's zone where none is given; a time of day is the last one."""
    wanted = datetime.datetime.fromisoformat(meant).timestamp()
    assert round(wanted * 1e6) == moment(f" {text} ", "since", NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("90s", 90), ("2d", 172800), ("1.5h", 5400), ("30", 30), ("1m500ms", 60.5)]
)
def test_ages(text: str, seconds: float) -> None:
    """One unit, or several."""
    found = moment(text, "since")
    assert isinstance(found, int)
    assert abs(time.time() - seconds - found / 1e6) < 60


@pytest.mark.parametrize("text", ["", "25:00", "tomorrow", "1h30", "2026-13-01", "10m ago", "24:00"])
def test_what_is_none_of_them_is_refused(text: str) -> None:
    """With what is expected."""
    with pytest.raises(ValueError, match=r"until=.*: expected an age such as 10m, 2d or 1h30m, a time such as 14:00"):
        moment(text, "until")


def test_an_age_before_all_streams_is_the_beginning() -> None:
    """However large it is."""
    assert [0, 0] == [moment(text, "since") for text in ("9999999999d", "100000000000w")]


def test_ends_of_the_stream() -> None:
    """As they are."""
    assert ["earliest", "latest"] == [moment("Earliest", "since"), moment("latest", "since")]


def test_only_a_whole_time_is_fixed() -> None:
    """Another run takes the others from another moment."""
    assert all(map(is_fixed, ("2026-11-28", "2026-11-28 09:30", "2026-11-28T09:30:00Z", "earliest")))
    assert not any(map(is_fixed, ("10m", "14:00", "yesterday", "now")))
