"""Stand-in for `confluent_kafka.Producer`, as librdkafka's idempotent producer behaves: see the class."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException

from tests.simulation.kafka.kafka_batches import Batch, Sent, Way
from tests.simulation.kafka.kafka_cluster import PARTITIONS, KafkaCluster

BATCH = 60
"""Messages of a batch at most: less than librdkafka's own, for more of them."""
IN_FLIGHT = 2
"""Batches of a partition that are not answered."""
RETRY = 0.1
RECONNECT = 1.0
REQUEST_TIMEOUT = 10.0
PROPAGATION = 30.0
"""Seconds for which a topic may be unknown before its messages fail."""
RETRIED = frozenset(
    (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    )
)


class FakeProducer:
    """Messages wait in a queue for each partition and go in batches, a few at a time, from a thread of librdkafka's.

    A batch that got no answer goes again, as it was, until it gets one. A report is heard within `poll` alone, as is an
    error. After a fatal error nothing more is sent; what waits is purged, what is on its way gets its answer.
    """

    cluster: ClassVar[KafkaCluster]

    def __init__(self, properties: Mapping[str, Any], **_: Any) -> None:
        self._world = self.cluster.world
        self._process = self._world.current
        self._most = int(properties.get("queue.buffering.max.messages", 100_000))
        self._largest = int(properties.get("message.max.bytes", 1_000_000))
        self._error_cb: Callable[[KafkaError], None] = properties.get("error_cb", lambda _: None)
        self._ways: dict[tuple[str, int], Way] = {}
        self._reports: deque[tuple[Callable[..., None], KafkaError | None]] = deque()
        self._errors: deque[KafkaError] = deque()
        self._fatal: KafkaError | None = None
        self._fatal_is_told = False
        self._waiting = 0
        """Messages without a report."""
        self._generation = 0
        """Number of connections so far."""
        self._connected = False
        self._arrives_at = 0.0
        self._closed = False
        self._pumping = False
        self._draining = False
        """True from when a batch was refused until nothing is on its way: then all that is left gets new numbers."""
        self.number = self.cluster.next_id()
        if self._process is not None and properties.get("bootstrap.servers"):
            self.cluster.producers.append(self)
            self._world.after(0.002, self._connect)

    def __len__(self) -> int:
        return self._waiting + len(self._reports)

    def produce(
        self,
        topic: str,
        value: bytes,
        key: str,
        on_delivery: Callable[..., None],
        timestamp: int,
        headers: Sequence[tuple[str, Any]],
    ) -> None:
        """Take a message into the queue."""
        if self._fatal is not None:
            raise KafkaException(KafkaError(KafkaError._FATAL, "Fatal error"))
        if len(value) > self._largest:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "Broker: Message size too large"))
        if len(self) >= self._most:
            raise BufferError("Local: Queue full")
        event = dict(headers)["ce_id"]
        found = self.cluster.topics.get(topic)
        count = len(found.partitions) if found is not None else PARTITIONS
        number = hashlib.blake2b(key.encode(), digest_size=4).digest()[0] % count
        way = self._ways.setdefault((topic, number), Way(topic, number))
        way.queue.append(Sent(event, value, timestamp, on_delivery))
        self._waiting += 1
        self._pump_soon(0.0005)

    def poll(self, timeout: float = -1.0) -> int:
        """Let reports and errors be heard."""
        assert self._process is not None
        end = self._world.now + max(0.0, timeout)
        while not (self._reports or self._errors) and self._world.now < end:
            self._process.wait(end - self._world.now)
        served = 0
        while self._errors:
            self._error_cb(self._errors.popleft())
            served += 1
        # What a report brings about is heard the next time.
        for _ in range(len(self._reports)):
            if not self._reports:
                break  # within a report all were purged and heard
            report, error = self._reports.popleft()
            report(error, None)
            served += 1
        if self._fatal is not None and not self._fatal_is_told:
            self._fatal_is_told = True
            raise KafkaException(self._fatal)
        return served

    def purge(self, *_: Any, **__: Any) -> None:
        """Report all messages as purged. What is on its way may be stored all the same."""
        for way in self._ways.values():
            for batch in way.batches:
                batch.purged = True
                self._report(batch.messages, KafkaError(KafkaError._PURGE_INFLIGHT, "Local: Purged in flight"))
            way.batches = []
        self._purge_queues()

    def _purge_queues(self) -> None:
        for way in self._ways.values():
            queue, way.queue = [*way.queue], deque()
            self._report(queue, KafkaError(KafkaError._PURGE_QUEUE, "Local: Purged in queue"))

    # The thread of librdkafka's own ---------------------------------------------------------------------------------

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self._world.after(seconds, self._unless_frozen, call, *arguments)

    def _unless_frozen(self, call: Callable[..., None], *arguments: Any) -> None:
        process = self._process
        assert process is not None
        if process.dead:
            self.close()
        elif (left := process.frozen_until - self._world.now) > 0:
            self._world.after(min(left, 0.5), self._unless_frozen, call, *arguments)
        else:
            call(*arguments)

    def close(self) -> None:
        """Be gone, with the process."""
        self._closed = True
        if self in self.cluster.producers:
            self.cluster.producers.remove(self)

    def _connect(self) -> None:
        if self._closed or self._connected:
            return
        if not self.cluster.up:
            self._hear(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
            self._later(RECONNECT * (0.5 + 0.5 * self._world.random.random()), self._connect)
            return
        self._generation += 1
        self._connected = True
        for way in self._ways.values():
            for batch in way.batches:
                batch.waits = False
        self._pump()

    def disconnected(self, why: str) -> None:
        """End the connection: what was on its way to the broker is lost, and so are the answers."""
        if not self._connected:
            return
        self._connected = False
        self._generation += 1
        self._later(0.0, self._lost, why)

    def _lost(self, why: str) -> None:
        self._hear(KafkaError(KafkaError._TRANSPORT, f"127.0.0.1:9092/1: {why}"))
        self._hear(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        self._later(0.1 + 0.2 * self._world.random.random(), self._connect)

    def _hear(self, error: KafkaError) -> None:
        self._errors.append(error)
        self._wake()

    def _wake(self) -> None:
        if self._process is not None:
            self._process.wake()

    def _pump_soon(self, seconds: float) -> None:
        if not self._pumping:
            self._pumping = True
            self._later(seconds, self._pump)

    def _pump(self) -> None:
        """Send what may be sent now."""
        self._pumping = False
        if not self._connected:
            return
        if self._draining and not self._renumber():
            return
        for way in [*self._ways.values()]:
            self._fail_unknown(way)
            while self._fatal is None and way.queue and len(way.batches) < IN_FLIGHT:
                messages = [way.queue.popleft() for _ in range(min(BATCH, len(way.queue)))]
                way.batches.append(Batch(way.sequence, messages))
                way.sequence += len(messages)
            for batch in way.batches:
                if not batch.waits:
                    self._send(way, batch)

    def _send(self, way: Way, batch: Batch) -> None:
        batch.waits = True
        batch.tries += 1
        self._arrives_at = max(self._arrives_at, self._world.now + self.cluster.delay())
        self._world.after(self._arrives_at - self._world.now, self._at_broker, way, batch, self._generation)
        self._later(REQUEST_TIMEOUT, self._timed_out, batch, batch.tries, self._generation)

    def _timed_out(self, batch: Batch, tries: int, generation: int) -> None:
        if batch.waits and batch.tries == tries and generation == self._generation and not batch.purged:
            self.disconnected("1 request(s) timed out: disconnect")

    def _at_broker(self, way: Way, batch: Batch, generation: int) -> None:
        cluster = self.cluster
        if generation != self._generation or not cluster.up:
            return
        records = [(one.event, one.value, one.timestamp) for one in batch.messages]
        code, stored = cluster.append(way.topic, way.number, self.number, batch.sequence, records)
        if cluster.lose_answers:
            cluster.lose_answers -= 1
            return
        for record in stored:
            cluster.tells_of(record)
        self._later(cluster.delay(), self._answered, way, batch, code, generation)

    def _answered(self, way: Way, batch: Batch, code: int, generation: int) -> None:
        if generation != self._generation or batch.purged:
            return
        if code in RETRIED:
            if code == KafkaError.UNKNOWN_TOPIC_OR_PART and way.unknown_since is None:
                way.unknown_since = self._world.now
            self._later(RETRY, self._again, batch, generation)
            return
        way.unknown_since = None
        if code == KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER:
            if self._draining:
                self._again(batch, generation)
                return
            self.fail(code, "Broker: Broker received an out of order sequence number")
        way.batches.remove(batch)
        batch.waits = False
        self._draining = self._draining or bool(code)
        self._report(batch.messages, KafkaError(code, KafkaError(code).str()) if code else None)
        self._pump()

    def _renumber(self) -> bool:
        """Begin anew with another epoch once nothing is on its way; returns whether that is so."""
        batches = [batch for way in self._ways.values() for batch in way.batches]
        if any(batch.waits for batch in batches):
            return False
        self._draining = False
        self.number = self.cluster.next_id()
        for way in self._ways.values():
            way.sequence = 0
            for batch in way.batches:
                batch.sequence = way.sequence
                way.sequence += len(batch.messages)
        return True

    def _again(self, batch: Batch, generation: int) -> None:
        if generation == self._generation:
            batch.waits = False
            self._pump()

    def _fail_unknown(self, way: Way) -> None:
        """Give up on a topic that has not been there for long."""
        if way.unknown_since is None or self._world.now < way.unknown_since + PROPAGATION:
            return
        way.unknown_since = None
        error = KafkaError(KafkaError._UNKNOWN_TOPIC, "Local: Unknown topic")
        batches, way.batches = way.batches, []
        for batch in batches:
            batch.purged = True
            self._report(batch.messages, error)
        queue, way.queue = [*way.queue], deque()
        self._report(queue, error)

    def fail(self, code: int, text: str) -> None:
        """Let a fatal error come up."""
        if self._fatal is None:
            self._fatal = KafkaError(code, text, fatal=True)
            self._purge_queues()
            self._wake()

    def _report(self, messages: Sequence[Sent], error: KafkaError | None) -> None:
        self._waiting -= len(messages)
        self._reports.extend((one.report, error) for one in messages)
        self._wake()
