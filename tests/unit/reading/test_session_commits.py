"""Commits of a reader: all that was handed out before, once, durable, or waiting for others."""

from __future__ import annotations

import pytest

from celery_event_bridge.contract import Batch, Reading, Record, SinkUnavailable
from celery_event_bridge.reading.session import Events
from tests.support.memory_reader import FakeReader, reading, record


def test_a_commit_covers_all_handed_out_before() -> None:
    """By partition and in order; what came after is left, and what is committed is not committed again."""
    other = Record("p", 7, "x", "t", "w", None, None, b"")
    reader = FakeReader(Batch([record(1), other, record(2)]), Batch([record(3)]))
    events = reading(reader)
    first, _, third, fourth = events
    assert events.commit(third)
    assert events.commit(first)
    assert events.commit(fourth)
    assert [{0: [1, 2], "p": [7]}, {0: [3]}] == reader.committed


def test_a_commit_covers_nothing_that_was_not_handed_out() -> None:
    """Whatever number is given."""
    reader = FakeReader(Batch([record(1), record(2), record(3)]))
    events = reading(reader)
    next(events)
    assert events.commit(10**9)
    assert [{0: [1]}] == reader.committed


def test_duplicates_are_dropped_and_committed_with_the_rest() -> None:
    """A copy of what was handed out, or was read back from before the position."""
    seen = [record(1, "a")]
    reader = FakeReader(Batch([record(2, "a"), record(3, "b"), record(4, "b"), record(5, "c")], seen=seen))
    events = reading(reader)
    handed = list(events)
    assert ["b", "c"] == [event.id for event in handed]
    events.commit(handed[-1])
    assert [{0: [2, 3, 4, 5]}] == reader.committed


def test_what_was_not_committed_is_handed_out_again() -> None:
    """The same record at the same place is no duplicate of itself."""
    reader = FakeReader(Batch([record(2, "b")], seen=[record(1, "a"), record(2, "b")]))
    assert ["b"] == [event.id for event in reading(reader)]


def test_what_was_dropped_is_committed_by_itself() -> None:
    """Or a reader of rare types would never move on; not, though, while something handed out is not committed."""
    others = Batch([record(3, event_type="x"), record(4, event_type="x")])
    reader = FakeReader(Batch([record(1)]), others)
    events = reading(reader, ["task-*"])
    event = next(events)
    assert [] == list(events)
    assert [] == reader.committed
    reader = FakeReader(Batch([record(1)]), others)
    events = reading(reader, ["task-*"])
    event = next(events)
    events.commit(event)
    assert [] == list(events)
    assert [{0: [1]}, {0: [3, 4]}] == reader.committed


def test_a_commit_is_repeated_until_it_is_durable() -> None:
    """And what could not be committed in time is committed by the next one."""
    reader = FakeReader(Batch([record(1), record(2)]))
    reader.errors["commit"] = [SinkUnavailable("no"), SinkUnavailable("no")]
    events = reading(reader)
    assert events.commit(next(events))
    assert [{0: [1]}] == reader.committed
    events.stop()
    reader.errors["commit"] = [SinkUnavailable("no")]
    second = next(events)
    with pytest.raises(SinkUnavailable, match="not committed, and stopped: no"):
        events.commit(second)
    assert events.commit(second)
    assert {0: [2]} == reader.committed[-1]


def test_there_is_no_commit_without_a_group() -> None:
    """It would keep no position."""
    events = Events(FakeReader(Batch([record(1)])), Reading())
    with pytest.raises(ValueError, match="group='name'"):
        events.commit(next(events))


def test_commits_wait_for_others() -> None:
    """For so many, or so long, or until there is nothing to read, or the end; one that fails at the end comes again."""
    five, two = [record(number) for number in range(5)], [record(number) for number in (5, 6)]
    reader = FakeReader(Batch(five), Batch(), Batch(two))
    events = reading(reader)
    for number, event in enumerate(events):
        assert events.commit_soon(event, every=2, seconds=1e6)
        assert [0, 1, 1, 2, 2, 3, 4][number] == len(reader.committed) or number > 4
    assert [2, 2, 1, 2] == [sum(map(len, positions.values())) for positions in reader.committed]
    reader = FakeReader(Batch([record(number) for number in range(3)]))
    with reading(reader) as events:
        events.commit_soon(next(events), seconds=0.0)
        assert 1 == len(reader.committed)
        events.commit_soon(next(events), seconds=1e6)
        assert 1 == len(reader.committed)
    assert ["commit", "close"] == reader.calls[-2:]
    reader = FakeReader(Batch([record(number) for number in range(3)]))
    reader.errors["commit"] = [SinkUnavailable("away")] * 3
    with reading(reader) as events:
        events.commit_soon(next(events), seconds=1e6)
    assert [] == reader.committed
    assert "close" == reader.calls[-1]


def test_a_commit_that_waits_needs_a_group() -> None:
    """As each does, and says so at once."""
    events = Events(FakeReader(Batch([record(1)])), Reading())
    with pytest.raises(ValueError, match="there is no position without a group"):
        events.commit_soon(next(events))
