"""A Kafka message to a record; what no bridge has written is handed over as it is, and says so."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME

from celery_event_bridge.contract import JSON, MSGPACK, Record
from celery_event_sinks.kafka.records import EPOCH

TYPE = "celery."
MICROSECOND = datetime.timedelta(microseconds=1)
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, in seconds since 1970."""


class _Stamped(msgspec.Struct, gc=False):
    """Fields that are looked at in a body."""

    timestamp: Any = None


_json, _msgpack = msgspec.json.Decoder(_Stamped), msgspec.msgpack.Decoder(_Stamped)


def record(partition: Hashable, message: Any) -> Record:
    """Take the message apart. Never raises, whatever it is."""
    data = message.value() or b""
    of, at = message.timestamp()
    try:
        headers: dict[str, bytes] = dict(message.headers() or ())
        subject, stored, broker = (headers.get(name) for name in ("ce_subject", "ce_recordedtime", "ce_broker"))
        kind = JSON if (content_type := headers.get("content-type")) is None else content_type.decode()
        if (own := headers.get("ce_time")) is not None:
            moment: int | None = _own_time(own)
        else:
            moment = at * 1000 if of == TIMESTAMP_CREATE_TIME else _time_in(data, kind)
        return Record(
            partition,
            message.offset(),
            headers["ce_id"].decode(),
            headers["ce_type"].decode().removeprefix(TYPE),
            _host(headers["ce_source"]),
            None if subject is None else subject.decode(),
            moment,
            data,
            kind,
            None if stored is None else _microseconds(stored),
            None,
            None if broker is None else broker.decode(),
        )
    except (KeyError, ValueError, AttributeError) as exc:
        what = f"it has no header {exc}" if isinstance(exc, KeyError) else str(exc)
    return Record(
        partition,
        message.offset(),
        hashlib.blake2b(data, digest_size=16).hexdigest(),
        "",
        "unknown",
        None,
        at * 1000 if at > 0 else None,
        data,
        problem=f"{message.topic()} partition {message.partition()} offset {message.offset()} "
        f"was not written by a bridge: {what}",
    )


@lru_cache(maxsize=4096)
def _host(source: bytes) -> str:
    return unquote(source.decode())


@lru_cache(maxsize=1024)
def _microseconds(text: bytes) -> int:
    """RFC 3339, one a batch. Raises ValueError."""
    return round(datetime.datetime.fromisoformat(text.decode()).timestamp() * 1e6)


def _own_time(text: bytes) -> int:
    """Return what `ce_time` says, in microseconds. Raises ValueError."""
    return (datetime.datetime.fromisoformat(text.decode()) - EPOCH) // MICROSECOND


def _time_in(data: bytes, content_type: str) -> int | None:
    """Return the event's time by its body, in a topic whose records have the time of their writing."""
    try:
        at = (_msgpack if content_type == MSGPACK else _json).decode(data).timestamp
    except (msgspec.MsgspecError, UnicodeDecodeError):
        at = _by_standard_json(data)
    return round(at * 1_000_000) if type(at) in (float, int) and EARLIEST <= at <= LATEST else None


def _by_standard_json(data: bytes) -> Any:
    """Return the time of what only the standard library takes: NaN, and lone surrogates."""
    try:
        return json.loads(data).get("timestamp")
    except (ValueError, AttributeError):
        return None
