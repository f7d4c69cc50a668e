"""A connection of py-amqp's whose other end is the test: what the broker sends is bytes of the test's own."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
from amqp import spec
from amqp.basic_message import Message as AmqpMessage
from amqp.method_framing import frame_writer
from amqp.transport import TCPTransport

from celery_event_bridge.brokers.rabbitmq.bounded import BoundedConnection
from celery_event_bridge.brokers.rabbitmq.bulk import BulkReader, PlainReader, Scanner
from celery_event_bridge.brokers.rabbitmq.frames import tolerant_frame_handler
from celery_event_bridge.brokers.rabbitmq.lane import Lane
from celery_event_bridge.brokers.rabbitmq.window import Window
from celery_event_bridge.contract.broker import Message

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
LANES = (1, 2)
"""Channels that consume; there is a third, which does not."""
CONSUMER = b"amq.ctag-8Jpf"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, signature: tuple[int, int], arguments: bytes = b"") -> bytes:
    return frame(METHOD, channel, struct.pack(">HH", *signature) + arguments)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def delivery(
    channel: int,
    tag: int,
    body: bytes,
    properties: bytes = b"\0\0",
    *,
    names: tuple[bytes, bytes] = (b"celeryev", b"task.multi"),
    consumer: bytes = CONSUMER,
    flags: int = 0,
    chunk: int = 2**17,
) -> list[bytes]:
    """The frames of a message, its body in chunks of so many bytes."""
    arguments = short(consumer) + struct.pack(">QB", tag, flags) + short(names[0]) + short(names[1])
    header = struct.pack(">HHQ", spec.Basic.CLASS_ID, 0, len(body)) + properties
    bodies = [frame(BODY, channel, body[at : at + chunk]) for at in range(0, len(body), chunk)]
    return [method(channel, spec.Basic.Deliver, arguments), frame(HEADER, channel, header), *bodies]


def packed(**properties: Any) -> bytes:
    return bytes(AmqpMessage("", **properties)._serialize_properties())


class Line:
    """Reads what is sent to it, in bulk or frame by frame."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, *, bulk: bool) -> None:
        self.ours, self._theirs = ours, theirs
        self.messages: list[Message] = []
        self.error: BaseException | None = None
        """What ended the reading."""
        self.connection = connection = BoundedConnection("localhost")
        transport = TCPTransport("localhost")
        transport.sock, transport.connected = ours, True
        transport._setup_transport()
        connection._transport = transport
        connection.channels = {0: connection}
        connection.on_inbound_frame = tolerant_frame_handler(connection, connection.on_inbound_method)
        connection._frame_writer = frame_writer(connection, transport)
        self.scanner = scanner = Scanner()
        for number in (*LANES, 3):
            channel = connection.Channel(connection, number)
            channel.is_open = True
            channel._do_revive = lambda: None  # it would wait for the broker's answer
            if number in LANES:
                lane = Lane(channel, "queue", Window(10, 10), self._arrived, expired=number == 2)
                lane._consumer, lane.consumer_tag = CONSUMER.decode(), CONSUMER
                channel.callbacks[lane._consumer] = lane._arrived
                scanner.lanes[number] = lane
        self.reader = BulkReader(connection, scanner) if bulk else PlainReader(connection)

    def _arrived(self, message: Message) -> None:
        self.messages.append(message)

    def send(self, data: bytes) -> None:
        """As the broker; what it makes of the bytes is there when this returns."""
        waiting = memoryview(data)
        self._theirs.setblocking(False)
        while waiting and self.error is None:
            try:
                waiting = waiting[self._theirs.send(waiting) :]
            except BlockingIOError:
                pass
            self._read()

    def hang_up(self) -> None:
        """As the broker: close the connection."""
        # Closing alone does not end it while a process that was just forked, and has not yet executed its program,
        # holds a copy of the descriptor: the servers of the other tests start beside this.
        self._theirs.shutdown(socket.SHUT_RDWR)
        self._theirs.close()
        self._read()

    def copy_of_their_end(self) -> socket.socket:
        return self._theirs.dup()

    def _read(self) -> None:
        while self.error is None and self._readable():
            try:
                self.reader.read(self.messages)
            except TimeoutError:
                pass  # in the midst of a frame, also where this process stood still: the rest may be there
            except Exception as exc:  # noqa: BLE001 - whatever it is, both ways have to end with it
                self.error = exc

    def _readable(self) -> bool:
        return bool(select.select([self.ours], [], [], 0)[0])

    @property
    def seen(self) -> list[tuple[Any, ...]]:
        """All that a message says, without the objects that each line has of its own."""
        return [
            (message.lane.channel_number, *(getattr(message, name) for name in Message.__struct_fields__[1:]))  # type: ignore[attr-defined]
            for message in self.messages
        ]

    @property
    def end(self) -> str:
        """How the reading ended."""
        if isinstance(self.error, OSError):
            return "the connection is gone"
        return f"{type(self.error).__name__}: {self.error}" if self.error else ""


@contextmanager
def line(*, bulk: bool = True) -> Iterator[Line]:
    """A line, closed at the end."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.005)  # what was sent is there; for the rest of a frame it would wait in vain
    with ours, theirs:
        made = Line(ours, theirs, bulk=bulk)
        yield made


def heard(pieces: Iterable[bytes], *, bulk: bool, hang_up: bool = False) -> tuple[list[tuple[Any, ...]], str]:
    """What a line makes of these bytes, piece by piece, and how it ended."""
    with line(bulk=bulk) as one:
        for piece in pieces:
            one.send(piece)
        if hang_up:
            one.hang_up()
        return one.seen, one.end


__all__ = ["CONSUMER", "HEARTBEAT", "Line", "amqp", "delivery", "frame", "heard", "line", "method", "packed", "short"]
