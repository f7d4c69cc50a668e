"""The frame reader: what py-amqp reads it reads alike, and what py-amqp fails on it delivers all the same."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from amqp import spec
from amqp.basic_message import Message
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_handler
from amqp.serialization import loads
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.rabbitmq.frames import LONGEST, UNREADABLE, legible_names, tolerant_frame_handler

Frame = tuple[int, int, bytes]
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


class Arrived(NamedTuple):
    """What a frame handler calls back with."""

    channel: int
    method: tuple[int, int]
    arguments: bytes
    body: bytes | None
    properties: dict[str, Any] | None


class Sent(NamedTuple):
    """A message as a broker sends it."""

    channel: int
    tag: int
    properties: bytes
    chunks: Sequence[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def frames(self) -> list[Frame]:
        header = struct.pack(">HHQ", spec.Basic.CLASS_ID, 0, len(self.body)) + self.properties
        bodies = [(BODY, self.channel, chunk) for chunk in self.chunks if chunk]
        return [(METHOD, self.channel, deliver(self.tag)), (HEADER, self.channel, header), *bodies]


def deliver(tag: int, exchange: bytes = b"celeryev", routing_key: bytes = b"task.multi") -> bytes:
    """The arguments of a `basic.deliver` with its class and method before them."""
    names = bytes([len(exchange)]) + exchange + bytes([len(routing_key)]) + routing_key
    return struct.pack(">HH", *spec.Basic.Deliver) + b"\x011" + struct.pack(">QB", tag, 0) + names


def packed(properties: dict[str, Any]) -> bytes:
    return bytes(Message("", **properties)._serialize_properties())


names = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20)
scalars = st.one_of(st.booleans(), st.integers(-(2**31), 2**31 - 1), st.text(max_size=30), st.none())
tables = st.dictionaries(
    names, st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5), max_size=5
)
readable = st.fixed_dictionaries(
    {},
    optional={
        "content_type": names,
        "content_encoding": names,
        "application_headers": tables,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 9),
        "correlation_id": st.text(max_size=20),
        "message_id": st.text(max_size=20),
    },
).map(packed)
chunks = st.lists(st.binary(min_size=1, max_size=50), max_size=4)


def messages(properties: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[Sent]]:
    return st.lists(st.builds(Sent, st.integers(1, 3), st.integers(1, 2**32), properties, chunks), max_size=8)


@st.composite
def interleaved(draw: st.DrawFn, properties: st.SearchStrategy[bytes]) -> tuple[list[Sent], list[Frame]]:
    """Messages on some channels, their frames mixed as a broker may mix them, with heartbeats and other methods."""
    sent = draw(messages(properties))
    waiting: dict[int, Iterator[Frame]] = {}
    for channel in {message.channel for message in sent}:
        waiting[channel] = iter([frame for message in sent if message.channel == channel for frame in message.frames])
    frames: list[Frame] = []
    while waiting:
        channel = draw(st.sampled_from(sorted(waiting)))
        if (frame := next(waiting[channel], None)) is None:
            del waiting[channel]
            continue
        if draw(st.integers(0, 9)) == 0:
            frames.append((HEARTBEAT, 0, b""))
        if draw(st.integers(0, 9)) == 0:
            frames.append((METHOD, 0, struct.pack(">HH", *spec.Connection.Unblocked)))
        frames.append(frame)
    return sent, frames


def read(handler: Any, frames: Sequence[Frame]) -> list[Arrived]:
    """What the callback is given for these frames."""
    arrived: list[Arrived] = []

    def callback(channel: int, method: tuple[int, int], arguments: bytes, message: Any) -> None:
        body = None if message is None else bytes(message.body or b"")
        properties = None if message is None else message.properties
        arrived.append(Arrived(channel, method, bytes(arguments), body, properties))

    connection = SimpleNamespace(bytes_recv=0)
    on_frame = handler(connection, callback)
    for kind, channel, payload in frames:
        # As the transport hands them over.
        on_frame((kind, channel, memoryview(payload) if kind == BODY else payload))
    assert len(frames) <= connection.bytes_recv, "each frame counts as a sign of life"
    return arrived


@given(interleaved(readable))
def test_what_py_amqp_reads_is_read_alike(case: tuple[list[Sent], list[Frame]]) -> None:
    """Frames of any number of channels, with heartbeats and other methods between, give what py-amqp's own gives."""
    sent, frames = case
    arrived = read(tolerant_frame_handler, frames)
    assert read(frame_handler, frames) == arrived
    for channel in (1, 2, 3):
        bodies = [one.body for one in arrived if one.channel == channel]
        assert [message.body for message in sent if message.channel == channel] == bodies


@given(interleaved(st.one_of(st.binary(max_size=80), readable)))
def test_no_message_is_lost_for_its_properties(case: tuple[list[Sent], list[Frame]]) -> None:
    """Whatever bytes the properties are, each message arrives once, with its tag and its body, in its place."""
    sent, frames = case
    arrived = read(tolerant_frame_handler, frames)
    for channel in (1, 2, 3):
        theirs = [message for message in sent if message.channel == channel]
        ours = [one for one in arrived if one.channel == channel]
        assert [(deliver(message.tag), message.body) for message in theirs] == [
            (one.arguments, one.body) for one in ours
        ]
        for message, one in zip(theirs, ours, strict=True):
            assert_readable_or_kept(message, one)


def assert_readable_or_kept(message: Sent, one: Arrived) -> None:
    """The properties are what py-amqp makes of them; where it makes nothing of them, their bytes are a header."""
    try:
        (alone,) = read(frame_handler, message.frames)
    except Exception:  # noqa: BLE001 - whatever py-amqp stumbles over
        assert one.properties is not None
        assert message.properties == one.properties["application_headers"][UNREADABLE]
    else:
        assert alone.properties == one.properties


@given(names, names)
def test_the_content_type_of_unreadable_properties_is_kept(kind: str, encoding: str) -> None:
    """And the encoding: they decide whether the body can be read, which the other properties do not."""
    properties = packed({"content_type": kind, "content_encoding": encoding, "application_headers": {}})
    sent = Sent(1, 1, properties.removesuffix(bytes(4)) + no_time(1), [b"{}"])
    (one,) = read(tolerant_frame_handler, sent.frames)
    assert one.properties is not None
    assert (kind, encoding) == (one.properties["content_type"], one.properties["content_encoding"])
    assert sent.properties == one.properties["application_headers"][UNREADABLE]


def test_a_table_with_a_type_that_nobody_knows() -> None:
    """py-amqp calls that a syntax error of the connection; it is one of these properties alone."""
    properties = struct.pack(">HI", 0x2000, 3) + b"\x01a?"
    (one,) = read(tolerant_frame_handler, Sent(1, 1, properties, [b"{}"]).frames)
    assert one.properties is not None
    assert (b"{}", properties) == (one.body, one.properties["application_headers"][UNREADABLE])


def test_what_is_kept_of_unreadable_properties_is_bounded() -> None:
    """A frame has to take them again when the message is parked."""
    properties = struct.pack(">H", 0x2000) + no_time(10_000)
    (one,) = read(tolerant_frame_handler, Sent(1, 1, properties, [b"{}"]).frames)
    assert one.properties is not None
    assert properties[:LONGEST] == one.properties["application_headers"][UNREADABLE]


def no_time(count: int) -> bytes:
    """A table of so many times that are beyond the calendar."""
    table = (b"\x01aT" + b"\x7f" * 8) * count
    return struct.pack(">I", len(table)) + table


@given(messages(readable), st.data())
def test_what_py_amqp_refuses_is_refused(sent: list[Sent], data: st.DataObject) -> None:
    """A frame that does not belong there ends both, with the same error."""
    frames = [frame for message in sent for frame in message.frames]
    at = data.draw(st.integers(0, len(frames)))
    expects_method = at == len(frames) or frames[at][0] == METHOD
    wrong = (HEADER if expects_method else METHOD, frames[at][1] if at < len(frames) else 1, deliver(1) + bytes(20))
    for handler in (frame_handler, tolerant_frame_handler):
        with pytest.raises(UnexpectedFrame):
            read(handler, [*frames[:at], wrong])


@given(st.integers(1, 2**64 - 1), st.binary(max_size=255), st.binary(max_size=255))
def test_a_delivery_with_names_that_are_no_text(tag: int, exchange: bytes, routing_key: bytes) -> None:
    """It keeps its tag and the lengths of its names, and py-amqp can read it."""
    raw = deliver(tag, exchange, routing_key)
    legible = bytes(legible_names((60, 60), raw))
    assert raw[: 4 + 2 + 8 + 1] == legible[: 4 + 2 + 8 + 1]
    assert len(raw) == len(legible)
    found_exchange, found_key = names_of(legible)
    assert (len(exchange), len(routing_key)) == (len(found_exchange), len(found_key))
    if exchange.isascii() and routing_key.isascii():
        assert (exchange, routing_key) == (found_exchange, found_key)


@given(st.binary(max_size=255), st.binary(max_size=255), st.integers(0, 2**32 - 1))
def test_a_message_that_was_asked_for_with_names_that_are_no_text(exchange: bytes, key: bytes, count: int) -> None:
    """`basic.get-ok` as well: py-amqp reads its tag, names and the count behind them; what is text stays."""
    raw = struct.pack(">HHQB", 60, 71, 7, 0) + b"".join(bytes([len(name)]) + name for name in (exchange, key))
    raw += struct.pack(">I", count)
    legible = bytes(legible_names((60, 71), raw))
    tag, _, found_exchange, found_key, found_count = loads("Lbssl", legible, 4)[0]
    assert (7, count) == (tag, found_count)
    for name, found in ((exchange, found_exchange), (key, found_key)):
        text = name.decode(errors="ignore")
        assert found == (text if text.encode() == name else "".join(chr(byte) if byte < 0x80 else "?" for byte in name))


def names_of(delivery: bytes) -> tuple[bytes, bytes]:
    """Exchange and routing key, read plainly; both are text."""
    at = 4 + 2 + 8 + 1
    exchange = delivery[at + 1 : at + 1 + delivery[at]]
    at += 1 + len(exchange)
    routing_key = delivery[at + 1 : at + 1 + delivery[at]]
    exchange.decode()
    routing_key.decode()
    return exchange, routing_key
