"""The reader's common part over a stream in memory: what is handed out, dropped and waited out."""

from __future__ import annotations

import signal

import pytest

from celery_event_bridge.contract import Batch, Reading, Record, SinkUnavailable, StreamMissing, notices
from celery_event_bridge.reading.batch_size import BatchSize
from celery_event_bridge.reading.session import Events
from tests.support.memory_reader import FakeReader, reading, record


def test_events_come_in_order_and_end() -> None:
    """Each batch after the other, until the stream has ended."""
    reader = FakeReader(Batch([record(1), record(2)]), Batch(), Batch([record(3)]))
    assert ["id-1", "id-2", "id-3"] == [event.id for event in reading(reader)]


def test_a_stream_that_opens_and_cannot_be_read_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Opening it again is no recovery: the outage has one beginning, one line in the log, and an end."""
    reader = FakeReader(*[SinkUnavailable("no permission")] * 10_000)
    with pytest.raises(SinkUnavailable, match="no permission"):
        next(reading(reader, give_up_after=0.2))
    assert 3 < len(reader.limits) < 1000
    assert ["stream unavailable, trying again for 0.2 s: no permission"] == [one.getMessage() for one in caplog.records]


def test_types_are_picked() -> None:
    """By pattern; the others are passed over, and committed when nothing handed out is before them."""
    reader = FakeReader(Batch([record(1, event_type="worker-online"), record(2), record(3, event_type="worker-x")]))
    events = reading(reader, ["task-*"])
    assert ["id-2"] == [event.id for event in events]
    assert [] == reader.committed


def test_what_is_no_event_is_handed_over() -> None:
    """Whatever the types are that are asked for, and each time."""
    foreign = [record(1, "a", "", problem="no header ce_type"), record(2, "a", "", problem="no header ce_type")]
    events = list(reading(FakeReader(Batch(foreign)), ["task-*"]))
    assert ["no header ce_type"] * 2 == [event.problem for event in events]


def test_an_outage_is_waited_out() -> None:
    """It is opened again before the next fetch, and nothing is handed out twice or left out."""
    away = SinkUnavailable("away")
    reader = FakeReader(Batch([record(1)]), away, away, Batch([record(2)]))
    reader.errors["open"] = [away]
    assert ["id-1", "id-2"] == [event.id for event in reading(reader)]
    assert ["open", "open", "fetch", "fetch", "open", "fetch", "open", "fetch"] == reader.calls


def test_an_outage_may_be_too_long() -> None:
    """With `give_up_after` it is raised, from the iteration, from a commit, and from the start; all is released."""
    reader = FakeReader(SinkUnavailable("away"))
    with pytest.raises(SinkUnavailable, match="away"):
        list(reading(reader, give_up_after=0))
    reader = FakeReader(Batch([record(1)]), Batch())
    reader.errors["commit"] = [SinkUnavailable("no")]
    events = reading(reader, give_up_after=0)
    with pytest.raises(SinkUnavailable, match="no"):
        events.commit(next(events))
    reader = FakeReader()
    reader.errors["open"] = [SinkUnavailable("never there")]
    with pytest.raises(SinkUnavailable, match="never there"):
        reading(reader, give_up_after=0)
    assert "close" == reader.calls[-1]


def test_stop_ends_the_iteration() -> None:
    """After what is in hand; `close` drops that as well."""
    reader = FakeReader(Batch([record(1), record(2)]), Batch([record(3)]))
    with reading(reader) as events:
        next(events)
        events.stop()
        assert ["id-2"] == [event.id for event in events]
    events = reading(FakeReader(Batch([record(1), record(2)]), Batch([record(3)])))
    next(events)
    events.close()
    events.close()
    assert [] == list(events)
    assert "close" == reader.calls[-1]


def test_a_share_that_was_lost_is_not_handed_out() -> None:
    """When a commit finds out, the rest of the batch is dropped: another reader has it."""
    reader = FakeReader(Batch([record(1), record(2)]), Batch([record(3)]))
    reader.ours = reader.clean = False
    events = reading(reader)
    assert not events.commit(next(events))
    reader.ours = True
    events._lived_at = 0.0
    reader.ours = False
    assert [] == [event.id for event in events if event.id == "id-2"]


def test_signs_of_life() -> None:
    """Every quarter of the lease while a batch is handled, and not more often."""
    reader = FakeReader(Batch([record(number) for number in range(100)]))
    events = Events(reader, Reading(group="g", lease=1e6))
    list(events)
    assert "renew_lease" not in reader.calls
    reader = FakeReader(Batch([record(number) for number in range(3)]))
    list(Events(reader, Reading(group="g", lease=0.0)))
    assert 3 == reader.calls.count("renew_lease")


def test_batches_grow_while_they_are_handled_quickly() -> None:
    """Up to a bound; large records and slow handlers get fewer at a time."""
    reader = FakeReader(*(Batch([record(number)]) for number in range(6)))
    list(reading(reader))
    assert [100, 200, 400, 800, 1000, 1000] == reader.limits
    large = Record(0, 1, "x", "t", "w", None, None, b"x" * 4_000_000)
    reader = FakeReader(Batch([large]), Batch())
    list(reading(reader))
    assert [100, 2] == reader.limits
    size, limits = BatchSize(within=1.0), []
    for number in range(3):
        limits.append(size.limit)
        size.adapt([record(number)], 1.5)
    assert [100, 50, 25] == limits


def test_idle_is_called_while_there_is_nothing() -> None:
    """So that who waits can look after other things."""
    idle: list[int] = []
    reader = FakeReader(Batch([record(1)]), Batch(), Batch())
    list(reading(reader, idle=lambda: idle.append(1)))
    assert 2 == len(idle)


def test_records_that_were_gone_before_they_were_read_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted, and one warning names the group and the number."""
    subject = reading(FakeReader(Batch([record(1)]), Batch([record(9)], skipped=7), Batch(skipped=3)))
    assert ["id-1", "id-9"] == [event.id for event in subject]
    assert subject.skipped == 10
    assert notices.NOTICES.counts()["skipped"] == 10
    (line,) = [line.getMessage() for line in caplog.records]
    assert line.startswith("7 records were gone from the stream before the group 'g' came to them")


@pytest.mark.parametrize(
    ("types", "told"),
    [
        (["task-failled"], 1),
        (["task-failled", "task-*"], 1),
        (["!worker-hartbeat"], 1),
        (["task-failed"], 0),
        (["+our-own"], 0),
        (["our-type"], 0),
        ([], 0),
    ],
)
def test_a_type_that_never_came_and_is_none_of_celerys_is_told_of(
    caplog: pytest.LogCaptureFixture, types: list[str], told: int
) -> None:
    """Once, when something was read and there is no more of it for now; a custom type that came is no slip."""
    list(reading(FakeReader(Batch(), Batch([record(1), record(2, event_type="our-type")]), Batch()), types))
    lines = [line.getMessage() for line in caplog.records if "matches no event of Celery's" in line.getMessage()]
    assert len(lines) == notices.NOTICES.counts()["filter"] == told
    assert all("did you mean" in line for line in lines)


def test_signals_end_the_iteration() -> None:
    """After the event in hand; the handlers of before come back."""
    before = signal.getsignal(signal.SIGTERM)
    reader = FakeReader(Batch([record(1)]), *(Batch() for _ in range(1000)))
    with reading(reader) as events, events.stopped_by_signals():
        seen = []
        for event in events:
            signal.raise_signal(signal.SIGTERM)
            seen.append(event.id)
            events.commit_soon(event)
    assert (["id-1"], 1) == (seen, len(reader.committed))
    assert before == signal.getsignal(signal.SIGTERM)


def test_a_stream_that_is_missing_is_waited_for_only_by_who_waits_for_ever() -> None:
    """At the start; one that is gone later is away, as any other."""
    reader = FakeReader()
    reader.errors["open"] = [StreamMissing("no such file")]
    with pytest.raises(StreamMissing, match="no such file"):
        reading(reader, give_up_after=1e6)
    assert "close" == reader.calls[-1]
    reader = FakeReader(Batch([record(1)]))
    reader.errors["open"] = [StreamMissing("no such file")]
    assert ["id-1"] == [event.id for event in reading(reader)]
    reader = FakeReader(Batch([record(1)]), SinkUnavailable("moved"), Batch([record(2)]))
    events = reading(reader, give_up_after=1e6)
    assert "id-1" == next(events).id
    reader.errors["open"] = [StreamMissing("no such file")]
    assert ["id-2"] == [event.id for event in events]
