"""A message of Kafka's to a record; what no bridge has written is handed over as it is, and says so."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Hashable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from celery_event_bridge.contract import JSON, Record

TYPE = "celery."


def record(partition: Hashable, message: Any) -> Record:
    """Never raises, whatever the message is."""
    data = message.value() or b""
    _, at = message.timestamp()
    try:
        headers: dict[str, bytes] = dict(message.headers() or ())
        subject, stored = headers.get("ce_subject"), headers.get("ce_recordedtime")
        content_type = headers.get("content-type")
        return Record(
            partition,
            message.offset(),
            headers["ce_id"].decode(),
            headers["ce_type"].decode().removeprefix(TYPE),
            _host(headers["ce_source"]),
            None if subject is None else subject.decode(),
            at * 1000,
            data,
            JSON if content_type is None else content_type.decode(),
            None if stored is None else _microseconds(stored),
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
