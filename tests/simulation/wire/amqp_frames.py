"""Frames of AMQP 0-9-1 as a server reads and writes them, by hand; tables by the client's own serialization."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from amqp.basic_message import Message as BasicMessage
from amqp.serialization import dumps, loads

GREETING = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT, END = 1, 2, 3, 8, 0xCE
CONNECTION, CHANNEL, EXCHANGE, QUEUE, BASIC, CONFIRM = 10, 20, 40, 50, 60, 85
WITH_CONTENT = frozenset({(BASIC, 40)})
"""Methods of clients that a header and bodies follow."""
WITHOUT_TIDINGS = struct.pack(">BHIB", HEARTBEAT, 0, 0, END)
"""A heartbeat."""

Method = tuple[int, int]
"""Class and method."""


class Content(NamedTuple):
    """Properties as they are on the wire, flags included, and a body."""

    properties: bytes
    body: bytes


class Malformed(Exception):
    """A client has sent what is no AMQP."""


class Arguments:
    """Fields of a method, to be read in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, form: str) -> int:
        value: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def octet(self) -> int:
        """Read a byte, also one of bits."""
        return self._take(">B")

    def short(self) -> int:
        """Read two bytes."""
        return self._take(">H")

    def long(self) -> int:
        """Read four bytes."""
        return self._take(">I")

    def longlong(self) -> int:
        """Read eight bytes."""
        return self._take(">Q")

    def shortstr(self) -> str:
        """Read a text of 255 bytes at most."""
        return self._bytes(self.octet()).decode()

    def longstr(self) -> bytes:
        """Read bytes."""
        return self._bytes(self.long())

    def table(self) -> Mapping[str, Any]:
        """Read a table."""
        values, self._at = loads("F", self._data, self._at)
        table: Mapping[str, Any] = values[0]
        return table

    def _bytes(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        self._at += size
        return data


class Frames:
    """Frames that have arrived; a part of one waits for the rest."""

    def __init__(self) -> None:
        self._buffer = b""
        self.greeted = False

    def add(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer += data

    def greeting(self) -> bool:
        """Return whether the client has said which protocol it speaks."""
        if not self.greeted and len(self._buffer) >= len(GREETING):
            if not self._buffer.startswith(GREETING):
                raise Malformed(self._buffer[: len(GREETING)])
            self._buffer = self._buffer[len(GREETING) :]
            self.greeted = True
            return True
        return False

    def next(self) -> tuple[int, int, bytes] | None:
        """Return kind, channel and payload of the next one; None where it is not all there."""
        buffer = self._buffer
        if not self.greeted or len(buffer) < 8:
            return None
        kind, channel, size = struct.unpack_from(">BHI", buffer)
        if len(buffer) < 8 + size:
            return None
        if buffer[7 + size] != END:
            raise Malformed(buffer[: 8 + size])
        self._buffer = buffer[8 + size :]
        return kind, channel, buffer[7 : 7 + size]


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, method: Method, form: str = "", *values: Any) -> bytes:
    """Return a method's frame. `form` has a letter for each value: B H I Q, s and S for text, F for a table."""
    parts = [struct.pack(">HH", *method)]
    for letter, value in zip(form, values, strict=True):
        if letter == "s":
            data = value.encode(errors="surrogateescape")[:255]
            parts.append(bytes([len(data)]) + data)
        elif letter == "S":
            data = value if isinstance(value, bytes) else value.encode()
            parts.append(struct.pack(">I", len(data)) + data)
        elif letter == "F":
            parts.append(table(value))
        else:
            parts.append(struct.pack(f">{letter}", value))
    return frame(METHOD, channel, b"".join(parts))


def table(value: Mapping[str, Any]) -> bytes:
    """Return a table's bytes."""
    data: bytes = dumps("F", [value])
    return data


def content(channel: int, what: Content, frame_max: int) -> Iterator[bytes]:
    """Yield the header's frame and those of the body."""
    yield frame(HEADER, channel, struct.pack(">HHQ", BASIC, 0, len(what.body)) + what.properties)
    for at in range(0, len(what.body), frame_max - 8):
        yield frame(BODY, channel, what.body[at : at + frame_max - 8])


def properties(content_type: str, headers: Mapping[str, Any]) -> bytes:
    """Return those that Celery gives an event."""
    flags = struct.pack(">H", 0x8000 | 0x4000 | 0x2000 | 0x1000 | 0x0800)
    texts = [bytes([len(text)]) + text.encode() for text in (content_type, "utf-8")]
    return b"".join([flags, *texts, table(headers), b"\x01\x00"])


def headers_of(raw: bytes) -> Mapping[str, Any]:
    """Return the headers among properties."""
    arguments = Arguments(raw)
    flags = arguments.short()
    for flag in (0x8000, 0x4000):
        if flags & flag:
            arguments.shortstr()
    return arguments.table() if flags & 0x2000 else {}


def content_type_of(raw: bytes) -> str:
    """Return the content type among properties."""
    arguments = Arguments(raw)
    return arguments.shortstr() if arguments.short() & 0x8000 else ""


def with_headers(raw: bytes, added: Mapping[str, Any]) -> bytes:
    """Return properties with headers more."""
    if not added:
        return raw
    message = BasicMessage()
    message._load_properties(BASIC, raw, 0)
    message.properties["application_headers"] = {**message.properties.get("application_headers", {}), **added}
    data: bytes = message._serialize_properties()
    return data
