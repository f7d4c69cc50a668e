"""Partitions that are read, from where and to where: those that the group assigns, or all.

A partition that is assigned is read from some records before the group's position on, so that duplicates of what was
handled before, by whichever reader, are recognised.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from celery_event_bridge.contract import Reading, Record, SinkUnavailable
from celery_event_sinks.kafka.begin import Known, begin, tell_of_a_lost_end
from celery_event_sinks.kafka.errors import reason_of
from celery_event_sinks.kafka.lost import Peek, lost
from celery_event_sinks.kafka.marks import Last, Mark
from celery_event_sinks.kafka.offsets import Places
from celery_event_sinks.kafka.standing_by import StandingBy

NEW_PARTITIONS = 60.0
"""Seconds between two looks for partitions that were added, without a group."""

Partition = tuple[str, int]


class Owned(msgspec.Struct, eq=False):
    """A partition that is read now."""

    key: Hashable
    """Partition, and which time it was assigned."""
    begin: int
    """The position; what is before it was read back."""
    end: int | None
    """The offset before which to end."""
    ended: bool = False


class Assignment:
    """The partitions of one reader."""

    def __init__(
        self,
        topics: list[str],
        reading: Reading,
        commit: Callable[[Consumer, list[TopicPartition]], bool],
        marks: Callable[[], Mapping[str, Mark]],
        peek: Peek,
        new_partitions: float = NEW_PARTITIONS,
    ):
        self._new_partitions = new_partitions
        self._topics = topics
        self._reading = reading
        self._commit = commit
        self._marks = marks
        self._peek = peek
        self.owned: dict[Partition, Owned] = {}
        self.next: dict[Partition, int] = {}
        """The offset to go on from, in each that is or was read."""
        self._ends: dict[Partition, int] = {}
        """Offset at which each ended when it was first seen, without a group."""
        self.failed: SinkUnavailable | None = None
        """Reason why an assignment came to nothing: nobody would repeat it, so the consumer has to be made anew."""
        self.known = Known()
        self._revoked: list[Hashable] = []
        self._skipped = 0
        self._known = False
        self._look_due = 0.0
        self.standing_by = StandingBy(reading.group, topics)

    def subscribe(self, consumer: Consumer) -> None:
        """Take what the group gives, in calls from within the consumer's `consume`. Raises SinkUnavailable."""
        given, gone = self._on_assign, self._on_revoke
        with self._or_made_anew():
            consumer.subscribe(self._topics, on_assign=given, on_revoke=gone, on_lost=gone)

    def assign_all(self, consumer: Consumer) -> None:
        """Assign, without a group, all there are, and once a minute those that were added. Raises SinkUnavailable."""
        if self.owned and time.monotonic() < self._look_due:
            return
        self.is_another()
        places = Places(consumer, self._reading.since, self._reading.newest)
        partitions = places.partitions(self._topics)
        self._look_due = time.monotonic() + self._new_partitions
        if {*partitions} == {*self.owned}:
            return
        bounds = {one: places.bounds(one) for one in partitions if one not in self.owned}
        gone = lost(self._peek, {one: at for one in bounds if (at := self.known.last.get(one))}, bounds)
        for partition, (first, last) in bounds.items():
            if partition in gone:
                tell_of_a_lost_end(partition, last, self.known.last.pop(partition).offset + 1)
                self.next[partition] = first
                self._ends.pop(partition, None)
            if partition not in self.next:
                # One that was added meanwhile, or is in a topic made anew, is new from its first record on.
                self.next[partition] = first if self._known else places.beginning(partition)
            end = self._ends.setdefault(partition, last) if self._reading.ends else None
            self._own(partition, self.next[partition], end)
        self._known = True
        with self._or_made_anew():
            consumer.assign([TopicPartition(*one, self.next[one]) for one in self.owned])

    def is_another(self) -> bool:
        """Look at the topics' ids; whether one is another topic now, which is then read from its beginning.

        Raises SinkUnavailable.
        """
        before = dict(self.known.marks)
        if not self.known.look(self._marks()):
            return False
        anew = {name for name, mark in self.known.marks.items() if name in before and before[name].topic != mark.topic}
        for places in (self.next, self._ends, self.known.last):
            for one in [one for one in places if one[0] in anew]:
                del places[one]
        self.give_up([one for one in self.owned if one[0] in anew])
        return True

    def read(self, last: Mapping[Partition, Record]) -> None:
        """Take note of the last record that was had of each of these."""
        for partition, its in last.items():
            self.next[partition] = its.position + 1
            self.known.last[partition] = Last.of(its.position, its.id)

    def ended(self) -> bool:
        """Return whether each has been read to its end; not while there is none, for a rebalance may bring some."""
        return bool(self.owned) and all(owned.ended for owned in self.owned.values())

    def give_up(self, partitions: Iterable[Partition]) -> None:
        """Give up these, which are no longer ours."""
        for partition in partitions:
            owned = self.owned.pop(partition, None)
            if owned is not None:
                self._revoked.append(owned.key)

    def take_revoked(self) -> list[Hashable]:
        """Return the keys of what was given up since the last time."""
        revoked, self._revoked = self._revoked, []
        return revoked

    def take_skipped(self) -> int:
        """Return how many records were gone before they were read, since the last time."""
        skipped, self._skipped = self._skipped, 0
        return skipped

    def marked(self, partition: Partition, offset: int) -> TopicPartition:
        """Return what to commit there: with the topic's id, as far as it is known."""
        return TopicPartition(*partition, offset, self.known.beside(partition))

    def out_of_range(self, consumer: Consumer, partition: Partition) -> None:
        """Go on where the log begins now, and count what was gone before it was read. Raises SinkUnavailable."""
        owned = self.owned.get(partition)
        if owned is None:
            return
        first, last = Places(consumer, self._reading.since).bounds(partition)
        expected = max(self.next.get(partition, 0), owned.begin)
        at = expected
        read = self.known.last.get(partition)
        if expected > last or lost(self._peek, {} if read is None else {partition: read}, {partition: (first, last)}):
            tell_of_a_lost_end(partition, last, expected)
            self.known.last.pop(partition, None)
            at = owned.begin = first
        elif expected < first:
            self._skipped += first - expected
            at = owned.begin = first
        self.next[partition] = at
        owned.ended = owned.ended or (owned.end is not None and at >= owned.end)
        if at != expected and self._reading.group is not None:
            with suppress(SinkUnavailable):
                self._commit(consumer, [self.marked(partition, at)])
        with self._or_made_anew():
            if self._reading.group is None:
                consumer.assign([TopicPartition(*one, self.next[one]) for one in self.owned])
            else:
                consumer.incremental_unassign([TopicPartition(*partition)])
                consumer.incremental_assign([TopicPartition(*partition, at)])

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._take(consumer, [(one.topic, one.partition) for one in partitions])
            self.standing_by.assigned(has_partitions=bool(self.owned))
        except SinkUnavailable as exc:
            self.failed = exc

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.give_up((one.topic, one.partition) for one in partitions)

    def _take(self, consumer: Consumer, partitions: list[Partition]) -> None:
        self.known.look(self._marks())
        since, back = self._reading.since, self._reading.read_back
        places = Places(consumer, since)
        found = begin(places, self.known, partitions, since, back, self._peek)
        if decided := [self.marked(one, its.at) for one, its in found.items() if its.to_commit]:
            self._commit(consumer, decided)
        for one, its in found.items():
            self._skipped += its.skipped
            self.next[one] = its.at
            self._own(one, its.at, places.bounds(one)[1] if self._reading.ends else None)
        with self._or_made_anew():
            consumer.incremental_assign([TopicPartition(*one, its.at - its.back) for one, its in found.items()])

    @contextmanager
    def _or_made_anew(self) -> Iterator[None]:
        """Turn what librdkafka does not take into a failed assignment. Raises SinkUnavailable."""
        try:
            yield
        except KafkaException as exc:
            self.failed = SinkUnavailable(reason_of(exc.args[0]))
            raise self.failed from exc

    def _own(self, partition: Partition, begin: int, end: int | None) -> None:
        ended = end is not None and begin >= end
        self.owned[partition] = Owned((*partition, uuid.uuid4().hex), begin, end, ended)
