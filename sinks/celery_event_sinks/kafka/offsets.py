"""Offsets to begin at in each partition, and its end: what a consumer asks Kafka before it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.kafka.errors import reason_of
from celery_event_sinks.kafka.marks import Position, position

ANSWER = 3.0
"""Seconds for one question."""


class Places:
    """Asks on behalf of one consumer. Each method raises SinkUnavailable."""

    def __init__(self, consumer: Consumer, since: str | int, newest: int = 0) -> None:
        self._consumer = consumer
        self._since = since
        self._newest = newest
        """Records before the end to begin at, in place of that time; 0 for the time."""

    def partitions(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        """Return all partitions that these topics have. It is enough if one of several is there."""
        found, missing = [], ""
        for topic in topics:
            try:
                known = self._consumer.list_topics(topic, timeout=ANSWER).topics[topic]
            except KafkaException as exc:
                raise SinkUnavailable(reason_of(exc.args[0])) from exc
            if known.error is not None:
                missing = f"topic {topic!r}: {reason_of(known.error)}"
            found += [(topic, number) for number in sorted(known.partitions)]
        if not found:
            raise SinkUnavailable(missing or f"topics {', '.join(topics)}: no partitions")
        return found

    def committed(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Position]:
        """Return the group's position, where it has one."""
        asked = [TopicPartition(*one) for one in partitions]
        try:
            answers = self._consumer.committed(asked, timeout=ANSWER) if asked else []
        except KafkaException as exc:
            raise SinkUnavailable(f"cannot ask for the group's position: {reason_of(exc.args[0])}") from exc
        return {(one.topic, one.partition): position(one.offset, one.metadata) for one in answers if one.offset >= 0}

    def beginning(self, partition: tuple[str, int]) -> int:
        """Return where to begin without a position."""
        first, last = self.bounds(partition)
        if self._newest:
            return max(first, last - self._newest)
        if self._since == "earliest":
            return first
        if self._since == "latest":
            return last
        # Rounded up: what was stored before is not asked for.
        asked = TopicPartition(*partition, -(-int(self._since) // 1000))
        try:
            (found,) = self._consumer.offsets_for_times([asked], timeout=ANSWER)
        except KafkaException as exc:
            raise SinkUnavailable(reason_of(exc.args[0])) from exc
        return found.offset if found.offset >= 0 else last

    def bounds(self, partition: tuple[str, int]) -> tuple[int, int]:
        """Return the first offset that is there, and the one after the last."""
        try:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER)
        except KafkaException as exc:
            raise SinkUnavailable(reason_of(exc.args[0])) from exc
        unsaid = f"topic {partition[0]!r}: Kafka does not say where partition {partition[1]} begins"
        if bounds is None:
            raise SinkUnavailable(unsaid)
        first, last = bounds
        if min(first, last) < 0:  # -1001: the leader does not know it yet
            raise SinkUnavailable(unsaid)
        return int(first), int(last)
