"""Read the Kafka topic with plain confluent-kafka: the record's format is all that is needed.

    python -m examples.plain_kafka --bootstrap-servers localhost:9092 --topic celery-events | jq .

Nothing of this project is imported: see docs/reference/records.md. A line of JSON for each event; the position is
committed when the lines are written, so each is written at least once. A copy in the topic is dropped by its id.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from confluent_kafka import Consumer, KafkaException, Message

REMEMBERED = 100_000
"""Ids by which copies are known. A copy of an event is in the same partition, mostly within a few thousand records."""


def event(message: Message) -> dict[str, Any]:
    """What a record holds: CloudEvents in binary mode. Raises KeyError for a record that no bridge has written."""
    headers = {name: value.decode() for name, value in message.headers() or ()}
    json_inside = headers.get("content-type") == "application/json"  # else application/x-msgpack
    return {
        "id": headers["ce_id"],
        "type": headers["ce_type"].removeprefix("celery."),
        "worker": unquote(headers["ce_source"]),
        "task": headers.get("ce_subject"),
        "time": message.timestamp()[1] / 1000,
        "data": json.loads(message.value()) if json_inside else None,
    }


def new(messages: Iterable[Message], seen: dict[str, None]) -> Iterator[dict[str, Any]]:
    """Their events, without those that came before."""
    for message in messages:
        if message.error() is not None:
            print(f"kafka: {message.error().str()}", file=sys.stderr)
            continue
        try:
            found = event(message)
        except (KeyError, ValueError) as exc:
            print(f"passed over, not a bridge's: offset {message.offset()}: {exc!r}", file=sys.stderr)
            continue
        if found["id"] not in seen:
            yield found
            seen[found["id"]] = None
            if len(seen) > REMEMBERED:
                del seen[next(iter(seen))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="Example: python -m examples.plain_kafka --group report"
    )
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="celery-events")
    parser.add_argument("--group", default="report", help="consumers of one group share the partitions (report)")
    options = parser.parse_args()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "group.id": options.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    seen: dict[str, None] = {}
    try:
        consumer.subscribe([options.topic])
        while not stopping:
            messages = consumer.consume(500, timeout=0.5)
            for found in new(messages, seen):
                print(json.dumps(found))
            if any(message.error() is None for message in messages):
                sys.stdout.flush()
                try:
                    consumer.commit(asynchronous=False)
                except KafkaException as exc:  # the group shares the partitions out anew: some may come again
                    print(f"not committed: {exc.args[0].str()}", file=sys.stderr)
    finally:
        consumer.close()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads it any more
    except KafkaException as exc:
        sys.exit(f"plain_kafka: {exc.args[0].str()}")
