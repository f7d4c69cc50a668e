"""What was published, and what a plain client finds in the streams: nothing in here uses the bridge's code."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import amqp
from confluent_kafka import Consumer, KafkaError, TopicPartition
from redis import Redis

from tests.support.servers.debian import program

DATA = Path(__file__).parents[1] / "data"


ANSWER = 10.0
"""Seconds for one question to Kafka."""


class Published(NamedTuple):
    """One message for the exchange."""

    body: bytes
    properties: dict[str, Any]
    routing_key: str


def captured() -> list[Published]:
    """471 messages as real workers sent them: single events, lists, msgpack, pickle."""
    rows = [json.loads(line) for line in (DATA / "captured-events.jsonl").read_text().splitlines()]
    return [
        Published(
            base64.b64decode(row["body_b64"]) if "body_b64" in row else row["body"].encode(),
            row["properties"],
            row["delivery_info"]["routing_key"],
        )
        for row in rows
    ]


def numbered(first: int, count: int, *, size: int = 350, hosts: int = 7) -> list[Published]:
    """So many single events, each one different, as a worker sends them."""
    filler = "x" * max(0, size - 200)
    return [
        Published(
            b'{"type": "task-started", "uuid": "%032x", "hostname": "w%d@test", "pid": 1, "clock": %d, "filler": "%s"}'
            % (number, number % hosts, number, filler.encode()),
            {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 1, "priority": 0}
            | {"application_headers": {"hostname": f"w{number % hosts}@test"}},
            "task.started",
        )
        for number in range(first, first + count)
    ]


def broker(url: str, certificates: Path | None = None) -> amqp.Connection:
    """A plain connection, or one with TLS and the client's certificate in that folder."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        ssl=tls(certificates) if certificates else False,
    )
    connection.connect()
    return connection


def tls(folder: Path) -> dict[str, str]:
    """What py-amqp wants for mutual TLS."""
    return {
        "ca_certs": str(folder / "ca.pem"),
        "certfile": str(folder / "client.pem"),
        "keyfile": str(folder / "client.key"),
        "server_hostname": "localhost",
    }


class Confirms:
    """The publisher confirms that a channel still waits for.

    What is published without them and followed by a close of the connection, RabbitMQ may lose on the way into a quorum
    queue (seen with 3.10.8). What it has confirmed it owes.
    """

    def __init__(self, channel: amqp.Channel) -> None:
        self._channel = channel
        self._published = 0
        self._waiting: set[int] = set()
        self._refused = 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._refuse)

    def publish(self, messages: Iterable[Published], exchange: str = "celeryev") -> None:
        """Publish, without waiting."""
        for message in messages:
            self._published += 1
            self._waiting.add(self._published)
            self._channel.basic_publish(amqp.Message(message.body, **message.properties), exchange, message.routing_key)

    def wait(self, timeout: float = 30) -> None:
        """Until all are confirmed. Raises TimeoutError, and ValueError if RabbitMQ refuses one: a queue is full."""
        while self._waiting:
            if self._refused:
                raise ValueError(f"RabbitMQ has refused {self._refused} times what was published")
            self._channel.connection.drain_events(timeout=timeout)

    def look(self) -> None:
        """Take note of those that have come."""
        try:
            while self._waiting:
                self._channel.connection.drain_events(timeout=0.001)
        except TimeoutError:
            return

    def _refuse(self, tag: int, multiple: bool) -> None:
        self._refused += 1

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._waiting -= {one for one in self._waiting if one <= tag} if multiple else {tag}


def publish(url: str, messages: Sequence[Published]) -> None:
    """Publish over a connection of its own, and return when RabbitMQ has confirmed all."""
    connection = broker(url)
    confirms = Confirms(connection.channel())
    for first in range(0, len(messages), 1000):
        confirms.publish(messages[first : first + 1000])
        confirms.wait()
    connection.close()


def events_of(message: Published) -> list[bytes]:
    """The bytes of each event in a JSON message: the slices of a list, without the blanks around them."""
    text = message.body.decode()
    if not text.lstrip().startswith("["):
        return [message.body]
    decoder, position, found = json.JSONDecoder(), text.index("[") + 1, []
    while True:
        while text[position] in " \t\r\n,":
            position += 1
        if text[position] == "]":
            return found
        _, end = decoder.raw_decode(text, position)
        found.append(text[position:end].encode())
        position = end


def event_id(data: bytes) -> str:
    """The contract's id."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def in_sqlite(path: Path | str) -> list[dict[str, Any]]:
    """All rows, in order."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM events ORDER BY seq")]
    connection.close()
    return rows


def in_redis(url: str, stream: str = "celery-events") -> list[dict[bytes, bytes]]:
    """All entries, in order."""
    with Redis.from_url(url, socket_timeout=30) as client:
        return list(_entries(client, stream))


def _entries(client: Redis, stream: str) -> Iterator[dict[bytes, bytes]]:
    first = "-"
    while page := client.xrange(stream, first, "+", count=5000):
        for _, fields in page:
            yield fields
        first = f"({page[-1][0].decode()}"


class Record(NamedTuple):
    """One record of a Kafka topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    timestamp: int
    """Milliseconds since 1970."""


def in_kafka(bootstrap: str, topic: str = "celery-events") -> list[Record]:
    """All records that are there now, partition by partition, in order."""
    with _reader(bootstrap) as reader:
        ends = _ends(reader, topic)
        reader.assign([TopicPartition(topic, number, first) for number, (first, _) in ends.items()])
        waiting = {number for number, (first, last) in ends.items() if last > first}
        records: list[Record] = []
        answered = time.monotonic()
        while waiting:
            found = reader.consume(1000, timeout=0.1)  # waits for so many, or so long
            answered = time.monotonic() if found else answered
            assert time.monotonic() - answered < ANSWER, f"no answer from Kafka within {ANSWER:g} s"
            for message in found:
                error = message.error()
                assert error is None or error.code() == KafkaError._PARTITION_EOF, error
                # An end that is told early, by a leader that does not know all yet, is none.
                if message.offset() + (error is None) >= ends[message.partition()][1]:
                    waiting.discard(message.partition())
                if error is None:
                    records.append(_record(message))
    return sorted(records)


def kafka_counts(bootstrap: str, topic: str = "celery-events") -> dict[int, int]:
    """How many records each partition has now."""
    with _reader(bootstrap) as reader:
        return {number: last - first for number, (first, last) in _ends(reader, topic).items()}


def by_kcat(bootstrap: str, topic: str) -> list[Record]:
    """The same as kcat reads it, a client in C. Raises ServerMissing where there is none."""
    # A line of numbers and headers, then key and value by their lengths.
    command = [program("kcat", "kcat"), "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q"]
    done = subprocess.run([*command, "-f", r"%p %o %T %K %S %h\n%k%s"], capture_output=True, timeout=180, check=True)
    records, rest = [], done.stdout
    while rest:
        line, _, rest = rest.partition(b"\n")
        *numbers, text = line.split(b" ", 5)
        partition, offset, timestamp, key, value = map(int, numbers)
        headers = {name.decode(): header for name, _, header in (one.partition(b"=") for one in text.split(b","))}
        records.append(Record(partition, offset, rest[:key], rest[key : key + value], headers, timestamp))
        rest = rest[key + value :]
    return sorted(records)


@contextmanager
def _reader(bootstrap: str) -> Iterator[Consumer]:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "oracle",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "log_level": "0",
        }
    )
    try:
        yield reader
    finally:
        reader.close()


def _ends(reader: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """The first offset of each partition, and the one after its last."""
    partitions = reader.list_topics(topic, timeout=ANSWER).topics[topic].partitions
    return {number: reader.get_watermark_offsets(TopicPartition(topic, number), ANSWER) for number in partitions}


def _record(message: Any) -> Record:
    headers = dict(message.headers() or ())
    _, timestamp = message.timestamp()
    return Record(message.partition(), message.offset(), message.key(), message.value(), headers, timestamp)


def drain(url: str, queue: str) -> list[amqp.Message]:
    """Take all messages out of a queue."""
    connection = broker(url)
    channel = connection.channel()
    channel.auto_decode = False
    messages = []
    while (message := channel.basic_get(queue, no_ack=True)) is not None:
        messages.append(message)
    connection.close()
    return messages


def depth(url: str, queue: str) -> int:
    """Ready messages; a quorum queue's are up to five seconds old."""
    connection = broker(url)
    try:
        return int(connection.channel().queue_declare(queue, passive=True).message_count)
    finally:
        connection.close()


def consumers(url: str, queue: str) -> int:
    """How many consumers a queue has; none where there is no such queue."""
    connection = broker(url)
    try:
        return int(connection.channel().queue_declare(queue, passive=True).consumer_count)
    except amqp.NotFound:
        return 0
    finally:
        connection.close()


def missing(expected: Iterable[bytes], found: Iterable[bytes]) -> Counter[bytes]:
    """What is expected and not found, as multisets."""
    return Counter(expected) - Counter(found)


JSON, MSGPACK, PICKLE = "application/json", "application/x-msgpack", "application/x-python-serialize"
