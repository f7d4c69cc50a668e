"""A plain consumer of the topic, beside the bridges: what it has read was stored, whatever Kafka does with it later.

Without it nobody could tell an event that a bridge has lost from one that Kafka has confirmed, and lost.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from tests.faults.workload import event_key

AT_ONCE = 500
PATIENCE = 0.2
"""Seconds for one fetch."""
ANSWER = 5.0


class Witness(threading.Thread):
    """Reads until it is told to stop."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._servers, self._topic = bootstrap, topic
        self._stopping = threading.Event()
        self._anew = threading.Event()
        self.read: set[bytes] = set()
        """The id of every event that could be read."""

    def run(self) -> None:
        while not self._stopping.is_set():
            self._anew.clear()
            with suppress(KafkaException):
                self._follow()
            self._stopping.wait(0.2)

    def begin_anew(self) -> None:
        """The topic is another one now: offsets begin again."""
        self._anew.set()

    def finish(self) -> None:
        """Stop reading."""
        self._stopping.set()
        self.join(60)

    def _follow(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "witness",
                "enable.auto.commit": "false",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": "50",
                "reconnect.backoff.max.ms": "1000",
                "log_level": "0",
            }
        )
        try:
            found = consumer.list_topics(self._topic, timeout=ANSWER).topics[self._topic]
            if found.error is not None:
                return
            consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in found.partitions])
            while not (self._stopping.is_set() or self._anew.is_set()):
                for message in consumer.consume(AT_ONCE, PATIENCE):
                    if message.error() is None:
                        self.read.add(event_key(message.value()))
        finally:
            consumer.close()
