"""Messages that nobody should send: each is forwarded or parked, and the bridge goes on."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import amqp
import msgpack

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.oracle import Published
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

JSON, MSGPACK = "application/json", "application/x-msgpack"
GOOD = b'{"type": "task-sent", "hostname": "w@h"}'
LIST = [json.dumps({"type": "task-sent", "clock": number}).encode() for number in range(100_000)]


class Poison(NamedTuple):
    """A message, and how many events of it are to be stored; else it is parked, after its good events are stored."""

    name: str
    body: bytes
    stored: int = 0
    parked: bool = True
    content_type: str = JSON
    headers: Mapping[str, Any] = MappingProxyType({})


POISONS = [
    Poison("empty body", b""),
    Poison("truncated JSON", GOOD[:-5]),
    Poison("JSON that is no event", b'{"a": 1}'),
    Poison("a number", b"17"),
    Poison("null", b"null"),
    Poison("a type that is no text", b'{"type": 7}'),
    Poison("no JSON at all", b"\x00\x01\x02"),
    Poison("invalid UTF-8", b'{"type": "task-\xff"}'),
    Poison("deep nesting", b"[" * 100_000),
    Poison("deep nesting in an event", b'{"type": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    Poison("JSON called msgpack", GOOD, content_type=MSGPACK),
    Poison("msgpack called JSON", msgpack.packb({"type": "task-sent"})),
    Poison("truncated msgpack", msgpack.packb({"type": "task-sent", "x": "y" * 50})[:-5], content_type=MSGPACK),
    Poison("pickle", b"\x80\x05\x95\x10.", content_type="application/x-python-serialize"),
    Poison("YAML", b"type: task-sent", content_type="application/x-yaml"),
    Poison("no content type", GOOD, content_type="", stored=1, parked=False),
    Poison("a false compression header", GOOD, headers={"compression": "application/x-gzip"}),
    Poison("an unknown compression", GOOD, headers={"compression": "application/x-quantum"}),
    Poison("a decompression bomb", gzip.compress(b" " * 200_000_000), headers={"compression": "application/x-gzip"}),
    Poison("a body of 100 MB", b'{"type": "x", "a": "' + b"x" * 100_000_000 + b'"}'),
    Poison("a list of 100,000 events", b"[" + b",".join(LIST) + b"]", stored=100_000, parked=False),
    Poison("a list with one bad element", b'[{"type": "task-a"}, 17, {"type": "task-b"}]', stored=2),
    Poison("an empty list", b"[]"),
    Poison("NUL bytes", b'{"type": "task-\\u0000", "hostname": "\\u0000"}', stored=1, parked=False),
    Poison("a host name that is none", b'{"type": "task-sent", "hostname": {"a": 1}}', stored=1, parked=False),
    Poison("a host name of 10 kB", GOOD.replace(b"w@h", b"w" * 10_000), stored=1, parked=False),
    Poison("a header that is no host name", b'{"type": "task-x"}', stored=1, parked=False, headers={"hostname": [1]}),
    Poison("lone surrogates", b'{"type": "task-\\ud800", "uuid": "\\udfff"}', stored=1, parked=False),
    Poison("not a number", b'{"type": "task-nan", "timestamp": NaN}', stored=1, parked=False),
    Poison("a timestamp without end", b'{"type": "task-late", "timestamp": 1e308}', stored=1, parked=False),
]


def test_poison(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """Each in turn, with a good event behind it: no crash, no loop, no loss; parked bodies are byte for byte."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    count = parked = 0
    for number, poison in enumerate(POISONS):
        properties = {"content_type": poison.content_type, "application_headers": dict(poison.headers)}
        after = json.dumps({"type": "task-after", "clock": number}).encode()
        oracle.publish(
            broker_url, [Published(poison.body, properties, "x"), Published(after, {"content_type": JSON}, "x")]
        )
        count += poison.stored + 1
        parked += poison.parked
        until(
            lambda wanted=count: store.count() >= wanted, 60, f"the events of {poison.name!r} and after it are stored"
        )
        until(
            lambda wanted=parked: bridge.metric("messages_rejected_total") >= wanted, 30, f"{poison.name!r} is parked"
        )
    until(lambda: bridge.metric("inflight_messages") == 0, 20, "nothing is in hand")
    assert (count, parked) == (store.count(), bridge.metric("messages_rejected_total"))
    assert 0 == bridge.stop()
    assert not [line for line in bridge.log() if line["level"] == "raw" or "Traceback" in str(line)]
    found = {bytes(message.body or b"") for message in oracle.drain(broker_url, "celeryev.bridge.rejected")}
    assert {poison.body for poison in POISONS if poison.parked} == found


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


HEADERS = {
    "a timestamp beyond the calendar": text(b"T") + b"T" + struct.pack(">Q", 2**63),
    "text that is not UTF-8": text(b"S") + b"S" + struct.pack(">I", 3) + b"\xff\xfe\xfd",
    "a name that is not UTF-8": text(b"\xff\xfe") + b"t\1",
    "a short number": text(b"n") + b"s" + struct.pack(">h", -2),
    "unsigned numbers": text(b"u") + b"u" + struct.pack(">H", 65535) + text(b"i") + b"i" + struct.pack(">I", 2**32 - 1),
    "bytes": text(b"x") + b"x" + struct.pack(">I", 2) + b"\xff\xfe",
}


def publish_with_headers(url: str, body: bytes, table: bytes, content_type: str) -> None:
    """A message whose headers py-amqp would not write."""
    connection = oracle.broker(url)
    channel = connection.channel()
    confirms = oracle.Confirms(channel)
    message = amqp.Message(body)
    kind = content_type.encode()
    properties = struct.pack(">H", 0x8000 | 0x2000) + text(kind) + struct.pack(">I", len(table)) + table
    message._serialize_properties = lambda: properties
    channel.basic_publish(message, "celeryev", "x")
    confirms._waiting.add(1)
    confirms.wait()
    connection.close()


def test_headers_that_the_client_cannot_read(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """A good event is stored; a message to be parked is parked; nobody's connection is lost over it."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    for number, (name, table) in enumerate(HEADERS.items(), 1):
        publish_with_headers(broker_url, GOOD[:-1] + b', "clock": %d}' % number, table, JSON)
        publish_with_headers(broker_url, b"type: x", table, "application/x-yaml")
        publish_with_headers(broker_url, b"", table, JSON)
        until(lambda wanted=number: store.count() == wanted, 20, f"the event with {name} is stored")
        until(
            lambda wanted=2 * number: bridge.metric("messages_rejected_total") == wanted,
            20,
            f"{name}: no events, parked",
        )
    assert [] == bridge.logged("unavailable")
    assert 0 == bridge.stop()
    parked = oracle.drain(broker_url, "celeryev.bridge.rejected")
    assert 2 * len(HEADERS) == len(parked)
    unreadable = [message.properties["application_headers"].get("x-bridge-unreadable-properties") for message in parked]
    assert any(value and HEADERS["a timestamp beyond the calendar"] in bytes(value) for value in unreadable)


def test_a_routing_key_that_is_not_text(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """The event is stored."""

    class Key(str):
        def encode(self, *_: Any) -> bytes:
            return b"task.\xff\xfe"

    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    oracle.publish(broker_url, [Published(GOOD, {"content_type": JSON}, Key())])
    until(lambda: store.bodies() == [GOOD], 20, "the event is stored")
    assert [] == bridge.logged("unavailable")
    assert 0 == bridge.stop()


def test_a_parking_queue_near_its_bound_is_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """By `run` with each look while it is so, and by `check`; RabbitMQ drops the oldest past it."""
    given = {**SqliteStore(tmp_path).settings, "BRIDGE_BROKER_URL": broker_url, "BRIDGE_REJECTED_MAX_BYTES": "100kB"}
    bridge = start_bridge(**given).await_ready()
    bad = oracle.captured()[0]._replace(body=b"{" + b"x" * 1000)
    oracle.publish(broker_url, [bad] * 90)
    line = bridge.await_log("queue 'celeryev.bridge.rejected' is nearly full", 40)
    assert "BRIDGE_REJECTED_MAX_BYTES" in line["event"]
    assert 1 == bridge.metric("notices_total", kind="nearly-full")
    done = run_to_end("celery_event_bridge", "check", **given)
    assert "queue 'celeryev.bridge.rejected' is nearly full: 90 messages are about 90 % of its bound" in done.stdout
    assert 90 == oracle.depth(broker_url, "celeryev.bridge.rejected")
