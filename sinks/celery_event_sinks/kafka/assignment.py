"""Which partitions are read, from where and to where: those that the group assigns, or all.

A partition that is assigned is read from some records before the group's position on, so that duplicates of what was
handled before, by whichever reader, are recognised.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping

import msgspec
from confluent_kafka import Consumer, TopicPartition

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_sinks.kafka.offsets import Places

log = logging.getLogger("celery_event_bridge.reader")

NEW_PARTITIONS = 60.0
"""Seconds between two looks for partitions that were added, without a group."""

Partition = tuple[str, int]


class Owned(msgspec.Struct, eq=False):
    """A partition that is read now."""

    key: Hashable
    """It, and which time it was assigned."""
    begin: int
    """The position; what is before it was read back."""
    end: int | None
    """The offset before which to end."""
    ended: bool = False


class Assignment:
    """The partitions of one reader."""

    def __init__(self, topics: list[str], reading: Reading, commit: Callable[[Consumer, list[TopicPartition]], bool]):
        self._topics = topics
        self._reading = reading
        self._commit = commit
        self.owned: dict[Partition, Owned] = {}
        self.next: dict[Partition, int] = {}
        """The offset to go on from, without a group."""
        self.failed: SinkUnavailable | None = None
        """Why an assignment came to nothing: nobody would repeat it, so the consumer has to be made anew."""
        self._revoked: list[Hashable] = []
        self._known = False
        self._look_due = 0.0

    def subscribe(self, consumer: Consumer) -> None:
        """Take what the group gives, in calls from within the consumer's `consume`."""
        consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def assign_all(self, consumer: Consumer) -> None:
        """Without a group: all there are, and once a minute those that were added. Raises SinkUnavailable."""
        if self.owned and time.monotonic() < self._look_due:
            return
        places = Places(consumer, self._reading.since)
        partitions = places.partitions(self._topics)
        self._look_due = time.monotonic() + NEW_PARTITIONS
        if {*partitions} == {*self.owned}:
            return
        for partition in partitions:
            if partition in self.owned:
                continue
            end = None
            if partition not in self.next:
                first, last = places.bounds(partition)
                # One that was added meanwhile is new from its first record on.
                self.next[partition] = first if self._known else places.beginning(partition)
                end = last if self._reading.ends and not self._known else None
            self._own(partition, self.next[partition], end)
        self._known = True
        consumer.assign([TopicPartition(*one, self.next[one]) for one in self.owned])

    def ended(self) -> bool:
        """Whether each has been read to its end; not while there is none, for a rebalance may bring some."""
        return bool(self.owned) and all(owned.ended for owned in self.owned.values())

    def give_up(self, partitions: Iterable[Partition]) -> None:
        """These are no longer ours."""
        for partition in partitions:
            owned = self.owned.pop(partition, None)
            if owned is not None:
                self._revoked.append(owned.key)

    def take_revoked(self) -> list[Hashable]:
        """The keys of what was given up since the last time."""
        revoked, self._revoked = self._revoked, []
        return revoked

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._take(consumer, [(one.topic, one.partition) for one in partitions])
        except SinkUnavailable as exc:
            self.failed = exc

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.give_up((one.topic, one.partition) for one in partitions)

    def _take(self, consumer: Consumer, partitions: list[Partition]) -> None:
        places = Places(consumer, self._reading.since)
        positions = places.committed(partitions)
        lost = self._beyond_the_end(places, positions)
        begin = {one: positions[one] if one in positions else places.beginning(one) for one in partitions} | lost
        new = [TopicPartition(*one, begin[one]) for one in partitions if one not in positions]
        for one in lost:
            del positions[one]
        if new and self._reading.since != "earliest":
            # Where a new group begins is decided once, and not again by the next reader that gets the partition.
            self._commit(consumer, new)
        for one in partitions:
            self._own(one, begin[one], places.bounds(one)[1] if self._reading.ends else None)
        back = self._reading.read_back
        consumer.incremental_assign(
            [TopicPartition(*one, max(0, at - back) if one in positions else at) for one, at in begin.items()]
        )

    def _beyond_the_end(self, places: Places, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Where to begin in partitions whose log ends before the group's position: the topic was made anew, or has lost
        its end. What is there now has the offsets of what was handled, and is not it.
        """
        found = {}
        for partition, position in positions.items():
            first, last = places.bounds(partition)
            if position > last:
                found[partition] = first
                log.warning(
                    "topic %r partition %d ends at %d, before the group's position %d: it is read from its beginning",
                    *(*partition, last, position),
                )
        return found

    def _own(self, partition: Partition, begin: int, end: int | None) -> None:
        ended = end is not None and begin >= end
        self.owned[partition] = Owned((*partition, uuid.uuid4().hex), begin, end, ended)
