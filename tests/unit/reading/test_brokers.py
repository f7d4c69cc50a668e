"""A stream of several brokers: those of one are picked, the others passed over, and a slip in a name is told of."""

from __future__ import annotations

import pytest

from celery_event_bridge.contract import Batch, Reading, Record
from celery_event_bridge.reading.picked import Picked, unmatched_brokers
from celery_event_bridge.reading.session import Events
from tests.support.memory_reader import FakeReader, record


def reading(reader: FakeReader, *brokers: str, types: tuple[str, ...] = ()) -> Events:
    return Events(reader, Reading(group="g", ends=True), Picked(types, brokers), longest_pause=0.01)


def mixed() -> list[Record]:
    """Two of each broker, and two of one without a name."""
    return [record(number, broker=name) for number, name in enumerate(["eu", "us", None] * 2, 1)]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], [1, 2, 3, 4, 5, 6]),
        (["eu"], [1, 4]),
        (["e*", "u*"], [1, 2, 4, 5]),
        (["!eu"], [2, 3, 5, 6]),
        (["?*"], [1, 2, 4, 5]),
        (["!?*"], [3, 6]),
        (["*"], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_brokers_are_picked_by_name(patterns: list[str], found: list[int]) -> None:
    """A record without a name has the empty one."""
    events = list(reading(FakeReader(Batch(mixed())), *patterns))
    assert [f"id-{number}" for number in found] == [event.id for event in events]
    assert {1: "eu", 2: "us", 3: None}[found[0]] == events[0].broker


def test_events_of_other_brokers_are_committed_with_those_picked() -> None:
    """Their places too: the group's position goes past them, so that they are not read again and again."""
    reader = FakeReader(Batch(mixed()))
    events = reading(reader, "eu")
    picked = [next(events), next(events)]
    assert events.commit(picked[-1])
    assert [] == list(events)
    assert [1, 2, 3, 4, 5, 6] == [place for one in reader.committed for places in one.values() for place in places]


def test_a_group_that_finds_none_of_its_broker_goes_on_all_the_same() -> None:
    """Nothing is handed out, and all that was read is committed."""
    reader = FakeReader(Batch(mixed()))
    assert [] == list(reading(reader, "asia"))
    assert [{0: [1, 2, 3, 4, 5, 6]}] == reader.committed


def test_brokers_and_types_are_picked_together() -> None:
    """Both have to fit."""
    records = [record(1, broker="eu"), record(2, event_type="task-x", broker="eu"), record(3, broker="us")]
    assert ["id-1"] == [one.id for one in reading(FakeReader(Batch(records)), "eu", types=("task-sent",))]


def test_an_event_that_another_broker_had_before_is_no_duplicate_of_it() -> None:
    """Who reads one broker's events gets its copy; who reads all gets the first. Also where that was before a group's
    position, and is read back.
    """
    twice = [record(1, "same", broker="eu"), record(2, "same", broker="us"), record(3, "same", broker="us")]
    assert ["us"] == [event.broker for event in reading(FakeReader(Batch(twice)), "us")]
    assert ["eu"] == [event.broker for event in reading(FakeReader(Batch(twice)))]
    again = FakeReader(Batch(twice[1:], seen=twice[:1]))
    assert ["us"] == [event.broker for event in reading(again, "us")]
    assert [] == list(reading(FakeReader(Batch(twice[1:], seen=twice[:1]))))


def test_who_picks_by_broker_himself_gets_the_copies_of_all() -> None:
    """`tail` and `replay` do: duplicates are dropped among the events of their broker only."""
    twice = [record(1, "same", broker="eu"), record(2, "same", broker="us"), record(3, "same", broker="us")]
    events = reading(FakeReader(Batch(twice)))
    events.seen.among = lambda name: name == "us"
    assert ["eu", "us"] == [event.broker for event in events]


def test_what_is_no_record_of_a_bridge_is_handed_over() -> None:
    """Whatever the broker: nobody knows where it came from."""
    foreign = record(1, "a", "", problem="no field id")
    assert ["no field id"] == [event.problem for event in reading(FakeReader(Batch([foreign])), "eu")]


def test_a_name_that_never_comes_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Once all was read, with the names that came; of none that came nothing is said."""
    assert [] == list(reading(FakeReader(Batch(mixed())), "e", "us"))[2:]
    assert [
        "broker: 'e' matches the broker's name of none of the events that were read: they have 'eu', 'us'"
    ] == caplog.messages


def test_names_that_came_are_listed_as_far_as_they_are_few() -> None:
    """And control characters in one, which anybody may have written, are shown as text."""
    (line,) = unmatched_brokers(["x"], "--broker", {"a\n", *(f"b{number:02}" for number in range(12))})
    assert line.startswith("--broker: 'x' matches")
    assert line.endswith(": they have 'a\\n', 'b00', 'b01', 'b02', 'b03', 'b04', 'b05', 'b06', 'b07', 'b08' and 3 more")
    (line,) = unmatched_brokers(["!x", "*"], "broker", {""})
    assert line.endswith("they have none, as BRIDGE_BROKER_NAME was unset")
    assert [] == unmatched_brokers(["x"], "broker", set())
