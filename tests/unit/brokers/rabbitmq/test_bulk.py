"""Deliveries in bulk: the same that py-amqp's own reading gives, however the bytes are cut, and the same refusals."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp import spec
from amqp.exceptions import ConsumerCancelled, NotFound
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.rabbitmq.bulk import CACHED, BulkReader, PlainReader, Scanner, reader, unreadable
from tests.support.amqp_lines import CONSUMER, HEARTBEAT, delivery, frame, heard, line, method, packed, short

HEADERS = packed(content_type="application/json", application_headers={"hostname": "w1@host"}, delivery_mode=1)
CLOSE = struct.pack(">H", 404) + short(b"NOT_FOUND") + struct.pack(">HH", 60, 20)

names = st.sampled_from([(b"celeryev", b"task.multi"), (b"", b"celeryev.bridge.overflow"), (b"\xff", b"\xfe")])
properties = st.one_of(
    st.sampled_from([HEADERS, b"\0\0", packed(content_type="application/x-msgpack", priority=0)]),
    st.binary(max_size=40),
)
deliveries = st.builds(
    delivery,
    st.integers(1, 2),
    st.integers(1, 2**63),
    st.binary(max_size=60),
    properties,
    names=names,
    consumer=st.sampled_from([CONSUMER, CONSUMER, CONSUMER, b"amq.ctag-gone"]),
    flags=st.integers(0, 3),
    chunk=st.sampled_from([7, 2**17]),
)
others = st.sampled_from(
    [
        [frame(HEARTBEAT, 0, b"")],
        [method(0, spec.Connection.Blocked, short(b"low on memory"))],
        [method(0, spec.Connection.Unblocked)],
        delivery(3, 1, b"on a channel that does not consume"),
        # On a channel of its own, and so perhaps in the midst of another's message:
        delivery(2, 7, b"x" * 30, HEADERS, chunk=10),
    ]
)
ends = st.sampled_from(
    [
        [],
        [method(1, spec.Basic.Cancel, short(CONSUMER) + b"\0")],
        [method(2, spec.Channel.Close, CLOSE)],
        [method(0, spec.Connection.Close, CLOSE)],
        [method(1, (60, 999))],
        [frame(2, 1, b"a header that belongs to nothing")],
        delivery(9, 1, b"on a channel that is not open"),
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a broker sends: deliveries on two channels, whose frames may be mixed, other frames, and perhaps an end."""
    waiting = draw(st.lists(st.one_of(deliveries, deliveries, others), max_size=10))
    stream = b""
    while waiting:
        # Frames of one channel keep their order; those of others may come in between.
        channels = {item[0][1:3]: position for position, item in reversed(list(enumerate(waiting)))}
        position = channels[draw(st.sampled_from(sorted(channels)))] if draw(st.booleans()) else 0
        item = waiting[position]
        stream += item[0]
        waiting[position : position + 1] = [item[1:]] if item[1:] else []
    return stream + b"".join(draw(ends)) + b"".join(draw(deliveries))


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[start:end] for start, end in pairwise(at)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=8))
def test_the_same_deliveries_however_the_bytes_are_cut(stream: bytes, cuts: list[int]) -> None:
    """Both ways give the same messages, with the same tags, properties and names, and end with the same error."""
    plainly = heard([stream], bulk=False, hang_up=True)
    assert plainly == heard(pieces(stream, cuts), bulk=True, hang_up=True)


@given(streams(), st.integers(0, 10_000), st.integers(1, 255), st.lists(st.integers(0, 10_000), max_size=3))
def test_what_is_malformed_is_refused_alike(stream: bytes, at: int, change: int, cuts: list[int]) -> None:
    """With any byte of it changed, both ways take the same messages before they stumble, over the same."""
    position = at % len(stream)
    broken = stream[:position] + bytes([stream[position] ^ change]) + stream[position + 1 :]
    plainly = heard([broken], bulk=False, hang_up=True)
    assert plainly == heard(pieces(broken, cuts), bulk=True, hang_up=True)


@pytest.mark.parametrize("bulk", [True, False])
def test_the_lines_of_these_tests_end_when_they_hang_up(bulk: bool) -> None:
    """Also while another process, forked a moment ago, still holds a copy of the broker's end."""
    with line(bulk=bulk) as one:
        copy = one.copy_of_their_end()
        one.hang_up()
        assert "the connection is gone" == one.end
        copy.close()


def one_byte_off(frames: list[bytes], number: int, at: int) -> bytes:
    """The frames with another byte at this place of this frame."""
    broken = bytearray(frames[number])
    broken[at] ^= 3
    return b"".join([*frames[:number], bytes(broken), *frames[number + 1 :]])


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("at", [0, 2, 6, 8, -1], ids=["type", "channel", "size", "class", "end"])
def test_a_malformed_frame_of_a_delivery_is_refused_alike(number: int, at: int) -> None:
    """Type, channel, size, class and end of each of the three frames are looked at: none is taken on trust."""
    stream = one_byte_off(delivery(1, 1, b'{"type":"task-sent"}', HEADERS), number, at)
    stream += b"".join(delivery(1, 2, b"next", HEADERS))
    plainly = heard([stream], bulk=False, hang_up=True)
    assert plainly == heard([stream], bulk=True, hang_up=True)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("at", [0, 2, 6, 8, -1], ids=["type", "channel", "size", "class", "end"])
def test_a_malformed_frame_is_refused_at_once(number: int, at: int) -> None:
    """However little comes after it before the connection ends: there is one opinion about what ended it."""
    frames = delivery(1, 1, b'{"type":"task-sent"}', HEADERS)
    stream = one_byte_off(frames, number, at) + b"".join(delivery(1, 2, b"next", HEADERS))
    begin = len(b"".join(frames[: number + 1]))
    for length in {*range(begin, begin + 20), *range(begin, len(stream), 7)}:
        plainly = heard([stream[:length]], bulk=False, hang_up=True)
        assert plainly == heard([stream[:length]], bulk=True, hang_up=True), length


def test_a_delivery_in_the_midst_of_another_is_refused() -> None:
    """On one channel a message follows when the one before is whole; another order is malformed, for both."""
    large, small = delivery(1, 1, b"x" * 30, HEADERS, chunk=10), delivery(1, 2, b"small", HEADERS)
    stream = b"".join([*large[:3], *small])
    plainly = heard([stream], bulk=False)
    assert "UnexpectedFrame" in plainly[1]
    assert plainly == heard([stream], bulk=True)


def test_cut_at_every_place() -> None:
    """A stream with every kind of frame in it, in two pieces, for each place where it can be cut."""
    items = [
        delivery(1, 1, b'{"type":"task-sent"}', HEADERS),
        delivery(2, 1, b"[]", HEADERS, names=(b"", b"celeryev.bridge.overflow"), flags=1),
        [frame(HEARTBEAT, 0, b"")],
        delivery(1, 2, b"in three frames", HEADERS, chunk=5),
        delivery(1, 3, b"", HEADERS),
        [method(0, spec.Connection.Blocked, short(b"low on memory"))],
        delivery(1, 4, b"{}", b"\x00\x40\x7f\xff\xff\xff\xff\xff\xff\xff"),
        delivery(2, 2, b"\x81", b"\0\0"),
        [method(1, spec.Basic.Cancel, short(CONSUMER) + b"\0")],
    ]
    stream = b"".join(b"".join(item) for item in items)
    plainly = heard([stream], bulk=False)
    assert 6 == len(plainly[0])
    for at in range(len(stream) + 1):
        assert plainly == heard([stream[:at], stream[at:]], bulk=True), at


def test_a_cancel_in_the_midst_of_a_batch() -> None:
    """What came before `basic.cancel` is delivered, then it is told of, though more had come with it."""
    cancel = method(1, spec.Basic.Cancel, short(CONSUMER) + b"\0")
    before, after = delivery(1, 1, b"before", HEADERS), delivery(1, 2, b"after", HEADERS)
    with line() as one:
        one.send(b"".join([*before, cancel, *after]))
        assert [b"before"] == [message.body for message in one.messages]
        assert isinstance(one.error, ConsumerCancelled)


def test_a_closed_channel_in_the_midst_of_a_batch() -> None:
    """What came before `channel.close` is delivered, then its error is raised."""
    with line() as one:
        one.send(b"".join([*delivery(1, 1, b"before", HEADERS), method(1, spec.Channel.Close, CLOSE)]))
        assert [b"before"] == [message.body for message in one.messages]
        assert isinstance(one.error, NotFound)


def test_a_blocked_connection_in_the_midst_of_a_batch() -> None:
    """`connection.blocked` reaches its callback, and the deliveries around it are taken."""
    blocked: list[str] = []
    with line() as one:
        one.connection.on_blocked = blocked.append
        frames = [method(0, spec.Connection.Blocked, short(b"low on memory"))]
        one.send(b"".join([*delivery(1, 1, b"a", HEADERS), *frames, *delivery(1, 2, b"b", HEADERS)]))
        assert 1 == len(blocked)
        assert [b"a", b"b"] == [message.body for message in one.messages]


def test_a_body_of_many_frames_arrives_whole() -> None:
    """A message far over the frame size, in pieces as a network cuts them, between two small ones."""
    large = bytes(range(256)) * 4000
    items = [delivery(1, 1, b"a", HEADERS), delivery(1, 2, large, HEADERS), delivery(1, 3, b"b", HEADERS)]
    stream = b"".join(b"".join(item) for item in items)
    with line() as one:
        for at in range(0, len(stream), 20_000):
            one.send(stream[at : at + 20_000])
        assert [b"a", large, b"b"] == [message.body for message in one.messages]


def test_any_byte_is_a_sign_of_life() -> None:
    """A heartbeat is not missed while a large message is on its way."""
    with line() as one:
        one.send(delivery(1, 1, b"x" * 1000, HEADERS)[0][:5])
        assert one.connection.bytes_recv > 0


def test_what_is_remembered_is_bounded() -> None:
    """Every message may have other properties and another routing key: the memory for them does not grow."""
    scanner = Scanner()
    with line() as one:
        scanner.lanes.update(one.scanner.lanes)
        for number in range(3 * CACHED):
            name = b"%d" % number
            scanner.take(b"".join(delivery(1, 1, b"{}", packed(message_id=name.decode()), names=(b"", name))), [])
    assert len(scanner._names) <= CACHED
    assert len(scanner._properties) <= CACHED


def test_this_py_amqp_can_be_read_in_bulk() -> None:
    """The installed version has all that the bulk reader leans on; of another, this test says what is gone."""
    with line() as one:
        assert "" == unreadable(one.connection), amqp.__version__
        assert isinstance(reader(one.connection, Scanner()), BulkReader)


@pytest.mark.parametrize("missing", ["_read_buffer", "sock", "having_timeout", "bytes_recv"])
def test_without_what_it_needs_it_reads_frame_by_frame_and_says_so(
    missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A py-amqp that lacks something is no reason not to start, but one to warn."""
    with line() as one:
        transport: Any = SimpleNamespace(
            _read_buffer=b"", sock=one.ours, having_timeout=one.connection.transport.having_timeout
        )
        connection: Any = SimpleNamespace(transport=transport, bytes_recv=0)
        assert "" == unreadable(connection)
        delattr(connection if missing == "bytes_recv" else transport, missing)
        assert isinstance(reader(connection, Scanner()), PlainReader)
    assert missing in capsys.readouterr().out


def test_a_frame_that_is_too_long_is_left_to_py_amqp() -> None:
    """It is not waited for here: py-amqp has the connection's limit, and the heartbeat ends what never comes."""
    with line() as one:
        one.send(struct.pack(">BHI", 1, 1, 2**31))
        assert 7 == len(one.connection.transport._read_buffer)
