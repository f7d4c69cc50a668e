"""Tests that every reader has to pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from celery_event_bridge.contract import Event, Reader, Reading, Record
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.testing.fakes import sample_events


class ReaderContract:
    """Tests of a reader.

    Derive from it, and say how to make the reader, and how events come into its stream::

        class TestMine(ReaderContract):
            @pytest.fixture
            def make_reader(self, server): return lambda reading: MyReader(MySettings(url=server.url), reading)

            @pytest.fixture
            def store(self, server): return lambda events: deliver(opened_sink, events, 20)
    """

    DEADLINE = 30.0
    """Seconds within which each record has to come."""

    def test_it_reads_what_is_stored(
        self, make_reader: Callable[[Reading], Reader], store: Callable[[Sequence[Event]], object]
    ) -> None:
        """Each event once, byte for byte, in the order of its partition, and then the end."""
        events = sample_events(300)
        store(events)
        records = self.read(make_reader(Reading(ends=True)))
        assert sorted((event.id, event.data) for event in events) == sorted((each.id, each.data) for each in records)
        order = {event.id: number for number, event in enumerate(events)}
        for _, each in groupby(sorted(records, key=lambda record: str(record.partition)), lambda one: one.partition):
            found = list(each)
            assert [record.position for record in found] == sorted(record.position for record in found)
            assert [order[record.id] for record in found] == sorted(order[record.id] for record in found)

    def test_a_group_goes_on_after_what_it_has_committed(
        self, make_reader: Callable[[Reading], Reader], store: Callable[[Sequence[Event]], object]
    ) -> None:
        """Records that were not committed come again to the group's next reader; committed ones do not."""
        events = sample_events(60)
        store(events[:40])
        first = make_reader(Reading(group="contract", ends=True))
        first.open()
        records = self.fetch(first, 40)
        done = {record.id for record in records[:25]}
        assert first.commit(positions_of(records[:25]))
        first.close()
        store(events[40:])
        rest = self.read(make_reader(Reading(group="contract", ends=True)), group=True)
        assert {event.id for event in events} - done == {record.id for record in rest}

    def test_a_reader_without_a_group_begins_where_it_is_told(
        self, make_reader: Callable[[Reading], Reader], store: Callable[[Sequence[Event]], object]
    ) -> None:
        """Beginning with the first record, or behind the last."""
        events = sample_events(20)
        store(events)
        for _ in range(2):
            assert 20 == len(self.read(make_reader(Reading(ends=True))))
        assert [] == self.read(make_reader(Reading(since="latest", ends=True)))

    def test_close_may_be_called_at_any_time(
        self, make_reader: Callable[[Reading], Reader], store: Callable[[Sequence[Event]], object]
    ) -> None:
        """Unopened, after a fetch, or twice."""
        store(sample_events(5))
        make_reader(Reading()).close()
        reader = make_reader(Reading(ends=True))
        reader.open()
        self.fetch(reader, 1)
        reader.close()
        reader.close()

    def read(self, reader: Reader, *, group: bool = False) -> list[Record]:
        """Open it, return all up to the end, and close it; in a group all of it is committed."""
        reader.open()
        records, until = list[Record](), Deadline(self.DEADLINE)
        while not reader.ended():
            assert not until.passed, f"no end after {self.DEADLINE} s, and {len(records)} records"
            batch = reader.fetch(100, 0.2)
            records += batch.records
            if group and batch.records:
                reader.commit(positions_of(batch.records))
        reader.close()
        return records

    def fetch(self, reader: Reader, count: int) -> list[Record]:
        """Return at least so many records."""
        records, until = list[Record](), Deadline(self.DEADLINE)
        while len(records) < count:
            assert not until.passed, f"{len(records)} of {count} records after {self.DEADLINE} s"
            records += reader.fetch(count, 0.2).records
        return records


def positions_of(records: Sequence[Record]) -> dict[object, list[object]]:
    """Return the positions by partition, as `commit` takes them."""
    positions: dict[object, list[object]] = {}
    for record in records:
        positions.setdefault(record.partition, []).append(record.position)
    return positions
