"""Deliveries in bulk: one read from the socket, and all whole deliveries in it by their offsets.

py-amqp reads a frame in three calls and a delivery in three frames, and that is most of what receiving costs (see
docs/decisions/0011-bulk.md). Here only what nearly every frame is, a delivery with its body in one frame, is taken from
the bytes. Every other frame is left in py-amqp's own buffer, for py-amqp to read: heartbeats, answers, closed channels,
bodies of several frames, and whatever is not as it should be. So there is one connection, with one state, and one
opinion about what is malformed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from struct import Struct, error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from amqp import spec
from amqp.serialization import PROPERTY_CLASSES

from celery_event_bridge.brokers.rabbitmq.bounded import PLAIN
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.lane import Lane

log = structlog.get_logger("celery_event_bridge")

CHUNK = 256 * 1024
"""Bytes of one read; about 450 events of 350 bytes."""
TLS_RECORD = 16 * 1024
REST_TIMEOUT = 0.05
"""Seconds to wait for the rest of a TLS record, or of a frame that py-amqp reads; what has been read of it is kept."""
CACHED = 2048
"""Different properties, and different names, that are kept decoded. A worker's are always the same."""
CACHEABLE = 1024
"""Bytes; longer properties are rarely the same again."""

METHOD, HEADER, BODY, END = 1, 2, 3, 0xCE
END_BYTE = bytes([END])
DELIVER = spec.Basic.Deliver[0] << 16 | spec.Basic.Deliver[1]
_method_frame = Struct(">BHIIB").unpack_from
"""Type, channel, size; class and method; the length of the consumer tag."""
_tag = Struct(">QB").unpack_from
"""Delivery tag, and the octet whose lowest bit is `redelivered`."""
_header_frame = Struct(">BHIHHQ").unpack_from
"""Type, channel, size; class, weight, size of the body; then the properties."""
_frame = Struct(">BHI").unpack_from
FRAME, TAG, PREFIX = 7, 9, 12
"""Bytes of a frame's head, of the tag with its flag, and of what comes before them, or before the properties."""

Value = TypeVar("Value")
Names = tuple[str, str]
"""Exchange and routing key."""
Properties = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""Content type, headers, and all properties: shared by all messages that have the same, so never to be changed."""


class Scanner:
    """Takes deliveries from bytes. No input or output."""

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}
        """The channels whose deliveries are taken, by number. Those of any other are left alone."""
        self._names: dict[bytes, Names] = {}
        self._properties: dict[bytes, Properties] = {}

    def take(self, buffer: bytes, messages: list[Delivered]) -> int:
        """Append all deliveries at the front of `buffer`; returns where the first byte is that was not taken.

        There begins a frame that is incomplete, or not one of a delivery that can be taken.
        """
        at, lanes, names, properties = 0, self.lanes, self._names, self._properties
        take = messages.append
        try:
            while True:
                kind, channel, size, method, length = _method_frame(buffer, at)
                lane = lanes.get(channel)
                if method != DELIVER or kind != METHOD or lane is None:
                    return at
                tag_at = at + PREFIX + length
                header_at = at + FRAME + size + 1
                header, channel_2, header_size, class_id, _, body_size = _header_frame(buffer, header_at)
                body_at = header_at + FRAME + header_size + 1
                body, channel_3, size_3 = _frame(buffer, body_at)
                body_at += FRAME
                end = body_at + body_size
                if not (
                    buffer[end] == END  # an IndexError: the body is not all there yet
                    and buffer[header_at - 1] == END
                    and buffer[body_at - FRAME - 1] == END
                    and header == HEADER
                    and body == BODY
                    and channel == channel_2 == channel_3
                    and body_size == size_3
                    and class_id == spec.Basic.CLASS_ID
                    and buffer[at + PREFIX : tag_at] == lane.consumer_tag
                ):
                    return at
                tag, flags = _tag(buffer, tag_at)
                raw = buffer[tag_at + TAG : header_at - 1]
                exchange, routing_key = names.get(raw) or self._read_names(raw)
                raw = buffer[header_at + FRAME + PREFIX : body_at - FRAME - 1]
                content_type, headers, all_ = properties.get(raw) or self._read_properties(raw)
                take(
                    Delivered(
                        lane,
                        tag,
                        buffer[body_at:end],
                        content_type,
                        headers,
                        flags & 1 == 1,
                        lane.expired,
                        all_,
                        exchange,
                        routing_key,
                    )
                )
                at = end + 1
        except (StructError, IndexError):
            return at  # it ends within this one
        except _LeftAlone:
            return at

    def _read_names(self, raw: bytes) -> Names:
        length = raw[0] + 1
        if length >= len(raw) or length + raw[length] + 1 != len(raw):
            raise _LeftAlone
        try:
            names = raw[1:length].decode(), raw[length + 1 :].decode()
        except UnicodeDecodeError as exc:
            raise _LeftAlone from exc
        return _remember(self._names, raw, names)

    def _read_properties(self, raw: bytes) -> Properties:
        try:
            found: Mapping[str, Any] = PROPERTY_CLASSES[spec.Basic.CLASS_ID](raw, 0)[0]
        except (
            Exception
        ) as exc:  # whatever its parser stumbles over; see bridge/celery_event_bridge/brokers/rabbitmq/frames.py
            raise _LeftAlone from exc
        return _remember(self._properties, raw, described(found))


class BulkReader:
    """Reads a connection: deliveries in bulk, everything else through py-amqp."""

    def __init__(self, connection: amqp.Connection, scanner: Scanner) -> None:
        self._connection = connection
        self._scanner = scanner
        self._unfinished: set[int] = set()

    def read(self, messages: list[Delivered]) -> int:
        """Read what there is and append the deliveries in it; those that py-amqp takes come by its callbacks.

        Returns the bytes read, about CHUNK at most.
        To be called when the socket is readable. Raises what py-amqp raises, and TimeoutError if a TLS record or a
        frame is not complete yet.
        """
        connection, transport = self._connection, self._connection.transport
        received = self._receive(transport)
        connection.bytes_recv += 1  # any byte shows that the broker lives
        # py-amqp's buffer holds what is left at every moment in which it might read: it is handed frames by calls that
        # may themselves wait for an answer.
        transport._read_buffer += received
        while buffer := transport._read_buffer:
            at = 0 if self._unfinished else self._scanner.take(buffer, messages)
            if at:
                transport._read_buffer = buffer = buffer[at:]
            if not self._is_py_amqps(buffer):
                break
            self._leave_one_to_py_amqp(buffer)
        return len(received)

    def _receive(self, transport: Any) -> bytes:
        sock = transport.sock
        if type(sock) is PLAIN:
            try:
                received = os.read(sock.fileno(), CHUNK)  # `recv` would ask once more whether there is anything
            except BlockingIOError as exc:
                raise TimeoutError("nothing has come") from exc
        elif not hasattr(sock, "pending"):
            received = sock.recv(CHUNK)
        else:
            # TLS: a record is 16 KiB at most, and its beginning makes the socket readable.
            with transport.having_timeout(REST_TIMEOUT):
                chunks = [sock.recv(CHUNK)]
                while sock.pending() and len(chunks) < CHUNK // TLS_RECORD:
                    chunks.append(sock.recv(CHUNK))
            received = b"".join(chunks)
        if not received:
            raise OSError("RabbitMQ closed the connection")
        return received

    def _is_py_amqps(self, buffer: bytes) -> bool:
        """Tell whether there is a frame for py-amqp, so that it need not wait for the rest of it."""
        if len(buffer) < FRAME:
            return False
        kind, channel, size = _frame(buffer)
        if size + 8 > self._connection.frame_max:
            return True  # let it refuse it
        end = FRAME + size + 1
        if len(buffer) < end:
            return False
        # One with a wrong end: let it refuse it, and not only once more has come.
        sound = buffer[end - 1] == END
        if not sound or kind != METHOD or channel not in self._scanner.lanes or channel in self._unfinished:
            return True
        if int.from_bytes(buffer[FRAME : FRAME + 4], "big") != DELIVER:
            return True
        # A delivery: it may be one that is taken above once all of it is there.
        return self._cannot_be_taken(buffer, channel, end)

    def _cannot_be_taken(self, buffer: bytes, channel: int, header_at: int) -> bool:
        """Tell whether a delivery, of which the method's frame is there, has more frames than two, or is malformed."""
        try:
            kind, channel_2, header_size = _frame(buffer, header_at)
            if (kind, channel_2) != (HEADER, channel) or not PREFIX <= header_size <= self._connection.frame_max - 8:
                return True
            body_at = header_at + FRAME + header_size + 1
            *_, class_id, _, body_size = _header_frame(buffer, header_at)
            if class_id != spec.Basic.CLASS_ID or not body_size:
                return True
            if buffer[body_at - 1 : body_at] not in (b"", END_BYTE):
                return True
            kind, channel_2, size = _frame(buffer, body_at)
        except StructError:
            return False
        return (kind, channel_2, size) != (BODY, channel, body_size) or len(buffer) > body_at + FRAME + size

    def _leave_one_to_py_amqp(self, buffer: bytes) -> None:
        kind, channel, _ = _frame(buffer)
        done = self._connection.blocking_read(REST_TIMEOUT)
        if kind in (HEADER, BODY) and done:
            self._unfinished.discard(channel)
        elif kind == METHOD and not done:
            self._unfinished.add(channel)  # its header and body are py-amqp's as well


class PlainReader:
    """Reads a connection frame by frame, by py-amqp alone."""

    def __init__(self, connection: amqp.Connection) -> None:
        self._connection = connection

    def read(self, messages: list[Delivered]) -> int:  # noqa: ARG002 - they come by py-amqp's callbacks
        """Read one message, or one frame of another kind. Raises what py-amqp raises, and TimeoutError."""
        self._connection.drain_events(timeout=REST_TIMEOUT)
        return 0


def reader(connection: amqp.Connection, scanner: Scanner) -> BulkReader | PlainReader:
    """Reading in bulk, if this py-amqp has what that needs; else frame by frame, and it says so."""
    if problem := unreadable(connection):
        log.warning("receiving frame by frame, at several times the cost: this py-amqp is not known", reason=problem)
        return PlainReader(connection)
    return BulkReader(connection, scanner)


def unreadable(connection: amqp.Connection) -> str:
    """Reason why this connection cannot be read in bulk; empty if it can."""
    wanted = {"_read_buffer": bytes, "sock": socket.socket}
    for name, kind in wanted.items():
        if not isinstance(getattr(connection.transport, name, None), kind):
            return f"its transport has no {name} of {kind.__name__}"
    if not callable(getattr(connection.transport, "having_timeout", None)):
        return "its transport has no having_timeout"
    if not isinstance(getattr(connection, "bytes_recv", None), int):
        return "its connection has no bytes_recv"
    return ""


def described(properties: Mapping[str, Any]) -> Properties:
    """Properties as py-amqp reads them, with the two that are looked at of every message."""
    return properties.get("content_type") or "", properties.get("application_headers") or {}, properties


class _LeftAlone(Exception):
    """Delivery that is not as most are: py-amqp's way."""


def _remember(cache: dict[bytes, Value], raw: bytes, value: Value) -> Value:
    if len(raw) <= CACHEABLE:
        if len(cache) >= CACHED:
            cache.clear()
        cache[raw] = value
    return value
