"""What others change is said once and counted always."""

from __future__ import annotations

import logging

import pytest

from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.notices import KINDS, Notices


@pytest.fixture
def clock() -> list[float]:
    """The time, to be set."""
    return [100.0]


def test_the_same_matter_is_logged_once_a_minute_and_counted_each_time(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """The next line says how many came in between."""
    notices = Notices(lambda: clock[0])
    assert [True, False, False] == [notices.tell("removed", "3 are gone", count=3) for _ in range(3)]
    clock[0] += 60
    assert notices.tell("removed", "1 is gone")
    assert ["3 are gone", "1 is gone (7 since the last line on it)"] == [r.getMessage() for r in caplog.records]
    assert 10 == notices.counts()["removed"]


def test_what_came_too_soon_is_logged_when_its_time_has_come_though_nothing_follows(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the number; and at the end without its time, but for what is said once a day."""
    notices = Notices(lambda: clock[0])
    for every in (60.0, 86_400.0):
        for number in range(3):
            notices.tell("stream-shrunk", f"{number} are gone", subject=f"{every}", count=number + 1, every=every)
    clock[0] += 59
    notices.tell_rest()
    assert 2 == len(caplog.records)
    clock[0] += 1
    for _ in range(3):
        notices.tell_rest()
        clock[0] += 1
    assert ["2 are gone (5 since the last line on it)"] == [record.getMessage() for record in caplog.records[2:]]
    notices.tell("stream-shrunk", "7 are gone", subject="60.0", count=7)
    notices.tell_rest()
    assert 3 == len(caplog.records)
    notices.tell_rest(at_the_end=True)
    assert ["7 are gone"] == [record.getMessage().partition(" (")[0] for record in caplog.records[3:]]


def test_a_name_that_is_no_utf_8_can_be_written(caplog: pytest.LogCaptureFixture) -> None:
    """As a file's may be: it is escaped."""
    Notices().tell("stream-replaced", "events\udcff.db is another file")
    assert [r"events\udcff.db is another file"] == [record.getMessage() for record in caplog.records]


def test_two_subjects_do_not_silence_each_other(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """One topic made anew says nothing of another."""
    notices = Notices(lambda: clock[0])
    assert notices.tell("stream-replaced", "topic a", subject="a")
    assert notices.tell("stream-replaced", "topic b", subject="b")
    assert not notices.tell("stream-replaced", "topic a", subject="a")
    assert 2 == len(caplog.records)


def test_what_is_right_again_is_said_if_it_was_wrong(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of what nobody had heard of; and what goes wrong again is said at once."""
    caplog.set_level(logging.INFO)
    notices = Notices(lambda: clock[0])
    assert not notices.over("gap", "bound again")
    notices.tell("gap", "not bound")
    assert notices.over("gap", "bound again")
    assert notices.tell("gap", "not bound")
    assert ["not bound", "bound again", "not bound"] == [record.getMessage() for record in caplog.records]


def test_every_kind_is_counted_from_the_start() -> None:
    """A series that begins at 1 never alerts."""
    assert dict.fromkeys(KINDS, 0) == Notices().counts()


def test_a_deadline_is_one_for_all_pieces_of_a_call() -> None:
    """Each piece gets what is left, and none a time-out of its own."""
    now = [5.0]
    deadline = Deadline(2.0, lambda: now[0])
    assert (2.0, False) == (deadline.left(), deadline.passed)
    now[0] += 1.5
    assert 0.5 == deadline.timeout()
    now[0] += 0.5
    assert (0.0, True) == (deadline.left(), deadline.passed)
    with pytest.raises(TimeoutError, match="deadline"):
        deadline.timeout()
