"""Real messages through a real broker into each sink: every byte is where the contract says."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.oracle import JSON, PICKLE
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.stores import KafkaStore

MESSAGES = oracle.captured()


def expected_records() -> list[tuple[Any, ...]]:
    """What has to be stored, by the contract, worked out with plain libraries."""
    records = []
    for message in MESSAGES:
        content_type = message.properties["content_type"]
        if content_type == PICKLE:
            continue
        for data in slices(message):
            fields = json.loads(data) if content_type == JSON else msgpack.unpackb(data)
            source = fields.get("hostname") or message.properties["application_headers"]["hostname"]
            subject = fields.get("uuid")
            time = round(fields["timestamp"] * 1_000_000)
            records.append(
                (data, oracle.event_id(data), fields["type"], source, subject, subject or source, time, content_type)
            )
    return records


def slices(message: oracle.Published) -> list[bytes]:
    """A message's events; a msgpack list is cut by packing each prefix's end."""
    if message.properties["content_type"] == JSON:
        return oracle.events_of(message)
    unpacker = msgpack.Unpacker(max_buffer_size=len(message.body))
    unpacker.feed(message.body)
    if message.body[0] & 0xF0 == 0x80 or message.body[0] in (0xDE, 0xDF):
        return [message.body]
    found = []
    for _ in range(unpacker.read_array_header()):
        start = unpacker.tell()
        unpacker.skip()
        found.append(message.body[start : unpacker.tell()])
    return found


def forward(start_bridge: Callable[..., Bridge], broker_url: str, count: int, **settings: str) -> None:
    """Publish all messages, wait until `count` events are confirmed, stop."""
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **settings).await_ready()
    oracle.publish(broker_url, MESSAGES)
    pickles = sum(message.properties["content_type"] == PICKLE for message in MESSAGES)
    until(
        lambda: (
            bridge.metric("events_forwarded_total") == count and bridge.metric("messages_rejected_total") == pickles
        ),
        30,
        f"{count} events forwarded and {pickles} messages parked",
    )
    assert 0 == bridge.stop()
    assert [] == bridge.logged("unavailable")


def assert_only_pickles_are_parked(broker_url: str) -> None:
    """Each pickle message is in the parking queue with its body and headers; no other queue holds anything."""
    parked = oracle.drain(broker_url, "celeryev.bridge.rejected")
    pickles = [message for message in MESSAGES if message.properties["content_type"] == PICKLE]
    assert Counter(message.body for message in pickles) == Counter(message.body for message in parked)
    originals = {message.body: message for message in pickles}
    for message in parked:
        original = originals[message.body]
        headers = dict(message.properties.pop("application_headers"))
        headers.pop("x-delivery-count", None)  # a quorum queue's own, on every delivery
        ours = {name: headers.pop(name) for name in list(headers) if name.startswith("x-bridge-")}
        assert original.properties == message.properties | {"application_headers": headers}
        assert ("content-type", "celeryev", original.routing_key) == (
            ours["x-bridge-reason"],
            ours["x-bridge-exchange"],
            ours["x-bridge-routing-key"],
        )
        assert {"x-bridge-error", "x-bridge-parked-at"} <= set(ours)
    for queue in ("celeryev.bridge", "celeryev.bridge.overflow"):
        assert [] == oracle.drain(broker_url, queue)


def test_into_sqlite(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """Every JSON and msgpack event is a row, byte for byte, with all columns; every pickle is parked."""
    expected = expected_records()
    path = tmp_path / "events.db"
    forward(start_bridge, broker_url, len(expected), BRIDGE_SINK="sqlite", BRIDGE_SQLITE_PATH=str(path))
    columns = ("data", "id", "type", "source", "subject", "key", "time", "content_type")
    rows = [tuple(row[name] for name in columns) for row in oracle.in_sqlite(path)]
    assert Counter(set(expected)) == Counter(rows)
    assert_only_pickles_are_parked(broker_url)


def test_into_redis(start_bridge: Callable[..., Bridge], broker_url: str, redis_url: str) -> None:
    """Every JSON and msgpack event is an entry with the contract's fields and no others; every pickle is parked."""
    expected = expected_records()
    forward(start_bridge, broker_url, len(expected), BRIDGE_SINK="redis", BRIDGE_REDIS_URL=redis_url)
    wanted = []
    for data, event_id, event_type, source, subject, _, at, content_type in expected:
        fields = {"data": data, "id": event_id, "type": event_type, "source": source, "time": str(at)}
        fields |= {"subject": subject} if subject else {}
        fields |= {"content_type": content_type} if content_type != JSON else {}
        wanted.append({name: value if isinstance(value, bytes) else value.encode() for name, value in fields.items()})
    found = [{name.decode(): value for name, value in entry.items()} for entry in oracle.in_redis(redis_url)]
    assert Counter(frozenset(entry.items()) for entry in wanted) == Counter(frozenset(entry.items()) for entry in found)
    assert_only_pickles_are_parked(broker_url)


def test_into_kafka(start_bridge: Callable[..., Bridge], broker_url: str, kafka_server: Kafka) -> None:
    """Every JSON and msgpack event is a CloudEvents record with the contract's headers; every pickle is parked.

    Read twice, by a plain consumer and by kcat, which knows nothing of Python.
    """
    expected = expected_records()
    store = KafkaStore(kafka_server)
    before = time.time()
    # These happened long ago: a topic that keeps a week would have them with the time of now.
    forward(start_bridge, broker_url, len(expected), **store.settings, BRIDGE_KAFKA_RETENTION="never")
    wanted = Counter()
    for data, event_id, event_type, source, subject, key, at, content_type in expected:
        headers = {"ce_specversion": "1.0", "ce_id": event_id, "ce_type": f"celery.{event_type}", "ce_source": source}
        headers |= {"content-type": content_type} | ({"ce_subject": subject} if subject else {})
        wanted[(data, key.encode(), at // 1000, frozenset(headers.items()))] += 1
    records = oracle.in_kafka(kafka_server.bootstrap, store.topic)
    found = Counter()
    for record in records:
        headers = {name: value.decode() for name, value in record.headers.items()}
        recorded = datetime.fromisoformat(headers.pop("ce_recordedtime"))
        assert before - 1 <= recorded.timestamp() <= time.time()
        found[(record.value, record.key, record.timestamp, frozenset(headers.items()))] += 1
    assert wanted == found
    assert records == oracle.by_kcat(kafka_server.bootstrap, store.topic)
    partitions = defaultdict(set)
    for record in records:
        partitions[record.key].add(record.partition)
    assert {1} == {len(numbers) for numbers in partitions.values()}, "a key's records are in one partition"
    assert 3 == len({record.partition for record in records})
    assert_only_pickles_are_parked(broker_url)


def test_into_stdout(start_bridge: Callable[..., Bridge], broker_url: str) -> None:
    """Every event is a line of JSON that carries its bytes."""
    expected = expected_records()
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, BRIDGE_SINK="stdout").await_ready()
    oracle.publish(broker_url, MESSAGES)
    until(lambda: bridge.metric("events_forwarded_total") == len(expected), 30, "all events are written")
    assert 0 == bridge.stop()
    ids = Counter(line["id"] for line in bridge.log() if "id" in line)
    assert Counter(record[1] for record in expected) == ids


@pytest.mark.parametrize("pattern", ["task-*,!task-received", "!worker-heartbeat"])
def test_only_wanted_types(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, pattern: str) -> None:
    """The filter decides what is stored; what is filtered out is acknowledged and nowhere."""
    names = pattern.split(",")
    out = {name[1:] for name in names if name.startswith("!")}
    expected = {record[1] for record in expected_records() if record[2] not in out}
    if names[0] == "task-*":
        expected = {record[1] for record in expected_records() if record[2].startswith("task-")} & expected
    path = tmp_path / "events.db"
    count = sum(record[1] in expected for record in expected_records())
    forward(start_bridge, broker_url, count, BRIDGE_SQLITE_PATH=str(path), BRIDGE_EVENT_TYPES=pattern)
    assert expected == {row["id"] for row in oracle.in_sqlite(path)}
    assert_only_pickles_are_parked(broker_url)
