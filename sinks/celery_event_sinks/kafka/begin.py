"""The beginning of a group's reader in each partition that it is given: after what is committed, if that holds still.

The topic may have been made anew since, the log may have lost its beginning (a retention that has overtaken the group)
or its end, and the position may have been deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from celery_event_bridge.contract import notices
from celery_event_sinks.kafka.lost import Peek, lost
from celery_event_sinks.kafka.marks import Last, Mark, Position
from celery_event_sinks.kafka.offsets import Places

LOGGER = "celery_event_bridge.reader"

Partition = tuple[str, int]


class Begin(msgspec.Struct, frozen=True):
    """Start in a partition."""

    at: int
    back: int = 0
    """Records before that to read back, for duplicates of them."""
    skipped: int = 0
    """Records that the group has not handled and that are gone."""
    to_commit: bool = False
    """True if it is to be committed at once, for the next reader that gets the partition."""


class Known:
    """Knowledge of this reader on its topics, of the time before the present assignment."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        """Partitions of each topic as it was last seen."""
        self._anew: set[str] = set()
        """Topics that were made anew since this reader has begun: all in them is new to it."""
        self.committed: dict[Partition, int] = {}
        """By this reader, and acknowledged."""
        self._begun: dict[Partition, Mark] = {}
        """Positions that go beside those of the partitions that are read."""
        self.last: dict[Partition, Last] = {}
        """The last event that was had of each."""

    def begun(self, partition: Partition, mark: Mark | None) -> None:
        """Remember what goes beside this partition's position: what was there, else what the topic is now."""
        if (now := self.marks.get(partition[0])) is not None:
            self._begun[partition] = Mark(now.topic, mark.partitions if mark is not None else now.partitions)

    def beside(self, partition: Partition) -> str:
        """Return what to commit beside a position; nothing where the topic's id is not known."""
        mark = self._begun.get(partition)
        return "" if mark is None else str(msgspec.structs.replace(mark, last=self.last.get(partition)))

    def look(self, marks: Mapping[str, Mark]) -> bool:
        """Compare what the topics are now with what they were; whether one is another than before, which is told of."""
        replaced = False
        for name, mark in marks.items():
            before = self.marks.get(name)
            if before is not None and before.topic != mark.topic:
                replaced = True
                self.tell_of_another(name, mark, before)
                self._anew.add(name)
                for places in (self.committed, self.last):
                    for one in [one for one in places if one[0] == name]:
                        del places[one]
            self.marks[name] = mark
        return replaced

    def is_new(self, partition: Partition, positions: Mapping[Partition, Position]) -> bool:
        """Return whether a partition without a commit holds nothing from before the group began to read: its topic was
        made anew, or it was added.
        """
        topic, number = partition
        counts = [
            found.mark.partitions
            for (name, _), found in positions.items()
            if name == topic and found.mark is not None and not self.is_another(topic, found.mark)
        ]
        return topic in self._anew or (bool(counts) and number >= min(counts))

    def is_another(self, topic: str, mark: Mark | None) -> bool:
        """Return whether the topic is another one than when this was committed."""
        now = self.marks.get(topic)
        return mark is not None and now is not None and mark.topic != now.topic

    @staticmethod
    def tell_of_another(topic: str, now: Mark, before: Mark) -> None:
        """Warn, once for all of its partitions."""
        notices.tell(
            "stream-replaced",
            f"topic {topic!r} is another one than before: its id is {now.topic} and was {before.topic}; it is read "
            "from its beginning, and what the old one held and nobody had read is gone",
            subject=f"{topic} {now.topic}",
            logger=LOGGER,
        )


def begin(
    places: Places, known: Known, partitions: Iterable[Partition], since: str | int, back: int, peek: Peek
) -> dict[Partition, Begin]:
    """Find out where to begin in each. Raises SinkUnavailable."""
    partitions = [*partitions]
    positions = places.committed(partitions)
    if since != "earliest" and (bare := {topic for topic, _ in partitions} - {topic for topic, _ in positions}):
        numbers = {name: mark.partitions for name, mark in known.marks.items() if name in bare}
        others = places.committed((name, number) for name, count in numbers.items() for number in range(count))
        positions = {**others, **positions}
    bounds = {one: places.bounds(one) for one in partitions}
    for one in partitions:
        mark = positions[one].mark if one in positions else None
        if mark is not None and mark.last is not None and not known.is_another(one[0], mark):
            known.last[one] = mark.last
        elif one in positions:
            known.last.pop(one, None)  # somebody else has set it elsewhere
    gone = lost(peek, {one: at for one in partitions if (at := known.last.get(one))}, bounds)
    for one in gone:
        del known.last[one]
    return {one: _begin(places, known, one, positions, bounds[one], gone, since, back) for one in partitions}


def _begin(
    places: Places,
    known: Known,
    partition: Partition,
    positions: Mapping[Partition, Position],
    bounds: tuple[int, int],
    gone: Collection[Partition],
    since: str | int,
    back: int,
) -> Begin:
    topic, number = partition
    first, last = bounds
    found = positions.get(partition)
    replaced = found is not None and known.is_another(topic, found.mark)
    known.begun(partition, None if found is None or replaced else found.mark)
    if found is not None and replaced:
        assert found.mark is not None
        known.tell_of_another(topic, known.marks[topic], found.mark)
        return Begin(first, to_commit=True)
    if found is None and (at := known.committed.get(partition)) is not None:
        notices.tell(
            "stream-shrunk",
            f"topic {topic!r} partition {number}: somebody has deleted the group's position; it goes on at {at}, where "
            "this reader was",
            subject=f"{topic} {number}",
            logger=LOGGER,
        )
        found = Position(at)
    if found is None:
        if known.is_new(partition, positions):
            return Begin(first)
        # Where a new group begins is decided once, and not again by the next reader that gets the partition.
        return Begin(places.beginning(partition), to_commit=since != "earliest")
    if found.offset > last or partition in gone:
        tell_of_a_lost_end(partition, last, found.offset)
        return Begin(first, to_commit=True)
    if found.offset < first:
        return Begin(first, skipped=first - found.offset, to_commit=True)
    return Begin(found.offset, back=min(back, found.offset - first))


def tell_of_a_lost_end(partition: Partition, last: int, position: int) -> None:
    """Warn of a log that ends before a position, or has ended there and has grown again: the topic was made anew, or
    has lost its end. What is there now has the offsets of what was handled, and is not it.
    """
    topic, number = partition
    if position > last:
        how = f"ends at {last}, before the position {position} that was read"
    else:
        how = f"has other events before the position {position} than those that were read: it had lost its end"
    notices.tell(
        "stream-shrunk",
        f"topic {topic!r} partition {number} {how}; it is read from its beginning, and what was stored in it and had "
        "not been read is gone",
        subject=f"{topic} {number}",
        logger=LOGGER,
    )
