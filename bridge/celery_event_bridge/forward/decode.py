"""Decoding of a message body to its events, verbatim. Pure functions; whatever the bytes are, they return.

An event is a JSON or msgpack object whose `type` is a string. A list of events, Celery's `task.multi`, becomes
one event an element, each the exact slice of the body. msgspec decodes what it can; it refuses NaN, Infinity
and lone surrogates, all of which Celery can send, so what it refuses goes to the standard library's decoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import repeat
from typing import Annotated, Any

import msgspec

from celery_event_bridge.contract import JSON, MSGPACK, Event, Rejection

UNKNOWN_SOURCE = "unknown"
# The years 1 to 9999 in seconds since 1970: what a datetime can hold, and so can every stream.
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """The good events of a message, and what is wrong with the rest of it, if anything is."""

    events: list[Event]
    rejection: Rejection | None = None


class _Envelope(msgspec.Struct, gc=False):
    """The fields that we look at. Any type: one that is wrong counts as absent, it does not spoil the event."""

    type: Any = None
    uuid: Any = None
    hostname: Any = None
    timestamp: Any = None


class _Plain(msgspec.Struct, gc=False):
    """An event as nearly every one is: its fields are of the types that they should be."""

    type: Annotated[str, msgspec.Meta(min_length=1)]
    uuid: str | None = None
    hostname: str | None = None
    timestamp: float | int | None = None


class _Undecodable(Exception):
    """Bytes that are not JSON, or not msgpack, from the first to the last."""


_no_bytes = blake2b(digest_size=16)
"""Copied for each event: that takes less than to make one."""
_json_plain = msgspec.json.Decoder(_Plain).decode
_json_plains = msgspec.json.Decoder(list[_Plain]).decode
_json_envelope = msgspec.json.Decoder(_Envelope).decode
_json_slices = msgspec.json.Decoder(list[msgspec.Raw]).decode
_msgpack_plain = msgspec.msgpack.Decoder(_Plain).decode
_msgpack_plains = msgspec.msgpack.Decoder(list[_Plain]).decode
_msgpack_envelope = msgspec.msgpack.Decoder(_Envelope).decode
_msgpack_slices = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_MSGPACK_LISTS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_BLANKS = b" \t\r\n"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(body: bytes, content_type: str, headers: Mapping[str, Any], broker: str | None = None) -> Decoded:
    """Take a message body apart into events; what cannot be one is in the rejection, never in an exception.

    `content_type` is the AMQP property: JSON is assumed where it is empty. `headers` are the message's; only
    `hostname` is looked at. `broker` is the name of the broker that it came from, if that has one.
    """
    if content_type == JSON and body[:1] == b"{" and body.isascii():
        try:  # what nearly every message is that is no list
            return Decoded([_event(body, _json_plain(body), JSON, headers, broker)])
        except (msgspec.DecodeError, RecursionError):
            pass  # it is read again below, with care
    if (way := _ways.get(content_type) or _way(content_type)) is None:
        kind = _kind(content_type)[:80]
        return Decoded([], Rejection("content-type", f"content type {kind!r} is neither JSON nor msgpack"))
    kind, split, read_plain, read_plains, read = way
    try:
        slices = split(body)
    except _Undecodable as exc:
        return Decoded([], Rejection("undecodable", str(exc)))
    if slices is not None and not slices:
        return Decoded([], Rejection("empty", "an empty list: no event in it"))
    parts = [body] if slices is None else slices
    try:
        plains = [read_plain(body)] if slices is None else read_plains(body)
        return Decoded(list(map(_event, parts, plains, repeat(kind), repeat(headers), repeat(broker))))
    except (msgspec.DecodeError, RecursionError, ValueError):
        # Something is wrong with one of them, or it is what msgspec does not know.
        return _decode_each(parts, kind, read, headers, broker, element=slices is not None)


def _decode_each(
    slices: Iterable[bytes],
    kind: str,
    read: Callable[[bytes], Any],
    headers: Mapping[str, Any],
    broker: str | None,
    *,
    element: bool,
) -> Decoded:
    events: list[Event] = []
    bad: list[str] = []
    reason = "not-an-event"
    for position, data in enumerate(slices):
        where = f"element {position}: " if element else ""
        try:
            envelope = read(data)
        except _Undecodable as exc:
            reason = "undecodable"
            bad.append(f"{where}{exc}")
            continue
        if type(envelope) is not _Envelope:
            bad.append(f"{where}not an object with names for its fields")
        elif not (type(envelope.type) is str and envelope.type):
            bad.append(f"{where}no field `type` with a string in it")
        else:
            events.append(_event(data, _plain(envelope), kind, headers, broker))
    if not bad:
        return Decoded(events)
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return Decoded(events, Rejection(reason, bad[0] + more))


def _event(data: bytes, envelope: _Plain, kind: str, headers: Mapping[str, Any], broker: str | None) -> Event:
    source = envelope.hostname or _text(headers.get("hostname")) or UNKNOWN_SOURCE
    subject = envelope.uuid or None
    at = envelope.timestamp
    digest = _no_bytes.copy()
    digest.update(data)
    return Event(
        digest.hexdigest(),
        envelope.type,
        source,
        subject,
        subject or source,
        round(at * 1_000_000) if at is not None and EARLIEST <= at <= LATEST else None,
        data,
        kind,
        broker,
    )


def _plain(envelope: _Envelope) -> _Plain:
    """Return what is as it should be in it; what is of a wrong type counts as absent."""
    at = envelope.timestamp
    return _Plain(
        _text(envelope.type) or "",
        _text(envelope.uuid),
        _text(envelope.hostname),
        at if type(at) in (float, int) else None,
    )


def _text(value: object) -> str | None:
    """Return a non-empty string that UTF-8 can hold, else None; a lone surrogate becomes U+FFFD."""
    if not value or type(value) is not str:
        return None
    if value.isascii():
        return value
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)


def _split_json(body: bytes) -> list[bytes] | None:
    """Return the elements' slices if the body is a list, None if it is anything else."""
    if body.isascii():
        if body[:1] == b"{":
            return None
    else:
        # msgspec does not look into the strings that it skips, but a consumer of the stream will.
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise _Undecodable(f"not UTF-8 at byte {exc.start}") from exc
    if not body.lstrip(_BLANKS).startswith(b"["):
        return None
    try:
        return [bytes(part) for part in _json_slices(body)]
    except (msgspec.DecodeError, RecursionError):
        return _split_json_plainly(body.decode())


def _split_json_plainly(text: str) -> list[bytes]:
    """Split as `_split_json` does, by the standard library, which knows NaN and takes lone surrogates."""
    scan = json.JSONDecoder().raw_decode
    blanks = _BLANKS.decode()
    parts: list[bytes] = []
    try:
        at = _skip(text, text.index("[") + 1, blanks)
        if text[at] == "]":
            end = at
        else:
            while True:
                _, stop = scan(text, at)
                parts.append(text[at:stop].encode())
                end = _skip(text, stop, blanks)
                if text[end] == "]":
                    break
                if text[end] != ",":
                    raise _Undecodable(f"not JSON: `,` or `]` is missing at character {end}")
                at = _skip(text, end + 1, blanks)
    except (ValueError, IndexError, RecursionError) as exc:
        raise _Undecodable(f"not JSON: {_reason(exc)}") from exc
    if text[end + 1 :].strip(blanks):
        raise _Undecodable(f"not JSON: text after its end at character {end + 1}")
    return parts


def _skip(text: str, at: int, blanks: str) -> int:
    while text[at] in blanks:
        at += 1
    return at


def _read_json(data: bytes) -> Any:
    try:
        return _json_envelope(data)
    except (msgspec.DecodeError, RecursionError):
        pass  # the standard library takes more
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as exc:
        raise _Undecodable(f"not JSON: {_reason(exc)}") from exc
    return _envelope(value)


def _split_msgpack(body: bytes) -> list[bytes] | None:
    if not body or body[0] not in _MSGPACK_LISTS:
        return None
    try:
        return [bytes(part) for part in _msgpack_slices(body)]
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _Undecodable(f"not msgpack: {_reason(exc)}") from exc


def _read_msgpack(data: bytes) -> Any:
    try:
        return _msgpack_envelope(data)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError, ValueError) as exc:
        raise _Undecodable(f"not msgpack: {_reason(exc)}") from exc


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _way(content_type: str) -> _Way | None:
    """Return how bodies of this content type are read; None if they are not."""
    kind = _kind(content_type)
    if kind in ("", JSON):
        return JSON, _split_json, _json_plain, _json_plains, _read_json
    if kind in (MSGPACK, "application/msgpack"):
        return MSGPACK, _split_msgpack, _msgpack_plain, _msgpack_plains, _read_msgpack
    return None


_Way = tuple[
    str,
    Callable[[bytes], "list[bytes] | None"],
    Callable[[bytes], _Plain],
    Callable[[bytes], list[_Plain]],
    Callable[[bytes], Any],
]
"""The content type of its events, how a list is split, how an event is read that is as it should be, and a list of
such events, and any other event.
"""
_ways: Mapping[str, _Way] = {name: way for name in ("", JSON, MSGPACK) if (way := _way(name))}


def _envelope(value: object) -> Any:
    if not isinstance(value, dict):
        return None
    return _Envelope(*(value.get(name) for name in _Envelope.__struct_fields__))


def _reason(exc: BaseException) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if isinstance(exc, IndexError):
        return "it ends too early"
    return str(exc).partition("\n")[0][:200]
