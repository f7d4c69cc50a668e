"""Follows a Kafka topic and tells when each event could be read."""

from __future__ import annotations

import sys
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.clients.latencies import Latencies


def main() -> None:
    """Read until all is there."""
    bootstrap, topic, wanted, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    empty: set[int] = set()
    while len(empty) < len(partitions):
        # Connected to each partition's broker, and asking for more.
        found = consumer.poll(10)
        if found is not None and found.error() and found.error().code() == KafkaError._PARTITION_EOF:
            empty.add(found.partition())
    latencies = Latencies(wanted, seconds)
    while not latencies.complete:
        found = consumer.poll(0.5)
        if found is not None and not found.error():
            latencies.add(found.value(), time.time())
    latencies.report()
    consumer.close()


if __name__ == "__main__":
    main()
