"""Model of a Kafka cluster: topics, their partitions' logs, and what an idempotent producer's batches come to there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from tests.simulation.scheduler import EPOCH, World

if TYPE_CHECKING:
    from tests.simulation.kafka.kafka_producer import FakeProducer

PARTITIONS = 3
REPLICAS = 3
MIN_IN_SYNC = 2
REMEMBERED = 5
"""Batches of each producer that a partition knows again."""
LATEST = 3_600_000
"""Milliseconds that a record's time may be ahead of the broker's clock."""


class Record:
    """A record in a log."""

    __slots__ = ("answered", "at", "event", "gone_at", "offset")

    def __init__(self, event: str, offset: int, at: float) -> None:
        self.event = event
        self.offset = offset
        self.at = at
        self.answered = False
        """True once its producer was told of it."""
        self.gone_at: float | None = None
        """Time when the model took it away."""


class Partition:
    """A partition."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.log: list[Record] = []
        self.first = self.next = 0
        self.leader = True
        self.in_sync = REPLICAS
        self._batches: dict[int, deque[tuple[int, Sequence[Record]]]] = {}
        """By producer: the first sequence number of its last batches, and their records."""

    def append(self, producer: int, sequence: int, events: Sequence[str], at: float) -> tuple[int, Sequence[Record]]:
        """Append a batch unless it is there; returns an error's code, or 0, and its records."""
        batches = self._batches.setdefault(producer, deque(maxlen=REMEMBERED))
        for known, records in batches:
            if known == sequence:
                return 0, records
        if batches and sequence != batches[-1][0] + len(batches[-1][1]):
            return KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, ()
        records = [Record(event, self.next + place, at) for place, event in enumerate(events)]
        self.next += len(records)
        self.log += records
        batches.append((sequence, records))
        return 0, records

    def lose_after(self, at: float) -> list[Record]:
        """Lose the end of the log, with what was known of it."""
        gone = [record for record in self.log if record.at > at]
        if gone:
            self.log = self.log[: len(self.log) - len(gone)]
            self.next = gone[0].offset
            for producer, batches in self._batches.items():
                kept = [one for one in batches if one[1][-1].offset < self.next]
                self._batches[producer] = deque(kept, maxlen=REMEMBERED)
        return gone

    def heal(self) -> None:
        """End what befalls it."""
        self.leader, self.in_sync = True, REPLICAS

    def delete_before(self, part: float) -> list[Record]:
        """Lose the beginning of the log."""
        count = int(part * len(self.log))
        gone, self.log = self.log[:count], self.log[count:]
        self.first = self.log[0].offset if self.log else self.next
        return gone


class Topic:
    """A topic."""

    def __init__(self, name: str, identity: str, partitions: int, config: Mapping[str, str]) -> None:
        self.name = name
        self.id = identity
        self.partitions = [Partition(number) for number in range(partitions)]
        self.config = dict(config)


class KafkaCluster:
    """Several brokers, seen as one."""

    def __init__(self, world: World, stored: Callable[[str, bytes], None]) -> None:
        self.world = world
        self._stored = stored
        draw = world.random.random
        self.limit = (2_500, 20_000, 1_048_576, 1_048_576)[int(draw() * 4)]
        """Bytes of a batch at most."""
        self.topics: dict[str, Topic] = {}
        self.producers: list[FakeProducer] = []
        self.copies: Counter[str] = Counter()
        self._destroyed: dict[str, float] = {}
        self.up = True
        self.empty = False
        """True while it answers and names no broker."""
        self.slow = 0.0
        self.errors: list[int] = []
        """Codes with which the next batches are refused."""
        self.lose_answers = 0
        """Answers to batches that are lost, though the connection stays."""
        self.fail_questions: list[int] = []
        """Codes with which the next questions are answered."""
        self._topics_made = 0
        self._ids = 0

    def delay(self) -> float:
        """Draw how long a request, or its answer, is under way."""
        return self.slow + 0.0003 + 0.003 * self.world.random.random()

    def next_id(self) -> int:
        """Return the id of a new producer."""
        self._ids += 1
        return self._ids

    def make(self, name: str, partitions: int, config: Mapping[str, str]) -> bool:
        """Make a topic; False where there is one."""
        if name in self.topics:
            return False
        self._topics_made += 1
        count = partitions if partitions > 0 else PARTITIONS
        self.topics[name] = Topic(name, f"topic{self._topics_made:017d}", count, config)
        self.world.say("Kafka", "has a new topic", self.topics[name].id, count)
        return True

    def partitions(self) -> list[Partition]:
        """Return all partitions."""
        return [partition for topic in self.topics.values() for partition in topic.partitions]

    def delete(self) -> None:
        """Delete all topics."""
        topics, self.topics = self.topics, {}
        for topic in topics.values():
            for partition in topic.partitions:
                self.destroy(partition.log, "deleted")

    def append(
        self, topic: str, number: int, producer: int, sequence: int, records: Sequence[tuple[str, bytes, int]]
    ) -> tuple[int, Sequence[Record]]:
        """Take a batch of ids, bytes and timestamps; returns an error's code, or 0, and the records."""
        partition, code = self._partition(topic, number)
        if partition is None or (code := code or self._refusal(partition, records)):
            return code, ()
        before = partition.next
        code, stored = partition.append(producer, sequence, [event for event, _, _ in records], self.world.now)
        if code == 0 and stored and stored[0].offset >= before:
            for event, data, _ in records:
                self._stored(event, data)
                self.copies[event] += 1
        if code == 0 and partition.in_sync < MIN_IN_SYNC:
            return KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, ()
        return code, stored

    def _partition(self, topic: str, number: int) -> tuple[Partition | None, int]:
        """Return a partition, or an error's code."""
        found = self.topics.get(topic)
        if found is None or number >= len(found.partitions):
            return None, KafkaError.UNKNOWN_TOPIC_OR_PART
        partition = found.partitions[number]
        return partition, 0 if partition.leader else KafkaError.NOT_LEADER_FOR_PARTITION

    def _refusal(self, partition: Partition, records: Sequence[tuple[str, bytes, int]]) -> int:
        """Return the code of what keeps these out, or 0."""
        if self.errors:
            return self.errors.pop()
        if sum(len(data) + 70 for _, data, _ in records) > self.limit:
            return KafkaError.MSG_SIZE_TOO_LARGE
        now = (EPOCH + self.world.now) * 1000
        if any(timestamp > now + LATEST for _, _, timestamp in records):
            return KafkaError.INVALID_TIMESTAMP
        few = partition.in_sync < MIN_IN_SYNC and self.world.random.random() < 0.5
        return KafkaError.NOT_ENOUGH_REPLICAS if few else 0

    def destroy(self, gone: Iterable[Record], how: str) -> None:
        """Take note of records that the model has taken away."""
        count = 0
        for record in gone:
            count += 1
            self.copies[record.event] -= 1
            record.gone_at = self.world.now
            if record.answered:
                self._destroyed[record.event] = self.world.now
        if count:
            self.world.say("Kafka", "loses", count, how)

    def tells_of(self, record: Record) -> None:
        """Take note that its producer was told of a record, though it may be gone by now."""
        record.answered = True
        if record.gone_at is not None:
            self._destroyed[record.event] = max(record.gone_at, self._destroyed.get(record.event, 0.0))

    def holds(self, event: str, since: float = -1.0) -> bool:
        """Return whether an event is there, or went after that time and its producer had been told of it."""
        return self.copies[event] > 0 or self._destroyed.get(event, -2.0) >= since

    def stop(self) -> None:
        """Be away: all connections end."""
        self.up = False
        for producer in [*self.producers]:
            producer.disconnected("Connect to ipv4#127.0.0.1:9092 failed: Connection refused")

    def start(self) -> None:
        """Be there again."""
        self.up = True
