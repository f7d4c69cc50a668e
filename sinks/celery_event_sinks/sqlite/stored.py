"""A row of `events` to a record; what no bridge has written is handed over as it is, and says so."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

from celery_event_bridge.contract import JSON, Record

OF_A_BRIDGE = (str, str, str, str, bytes)
TEXT_OR_NONE, NUMBER_OR_NONE = (str, type(None)), (int, type(None))


def record(partition: Hashable, row: Any) -> Record:
    """Take the row apart. Never raises: SQLite keeps whatever was written, of any type, in any column."""
    seq, event_id, event_type, source, subject, at, data, content_type, stored, broker = row
    if (type(event_id), type(event_type), type(source), type(content_type), type(data)) == OF_A_BRIDGE and (
        type(subject) in TEXT_OR_NONE and type(at) in NUMBER_OR_NONE and type(stored) in NUMBER_OR_NONE
    ):
        name = broker if type(broker) is str else None  # somebody may have had a column of that name before
        rest = (data, content_type, stored, None, name)
        return Record(partition, seq, event_id, event_type, source, subject, at, *rest)
    body = data if type(data) is bytes else str(data).encode(errors="surrogatepass")
    return Record(
        *(partition, seq, hashlib.blake2b(body, digest_size=16).hexdigest(), "", "unknown", None),
        *(at if type(at) is int else None, body, JSON, stored if type(stored) is int else None),
        f"row {seq} was not written by a bridge: a column is of another type than the bridge's",
    )


def lenient(text: bytes) -> str | bytes:
    """Decode for `sqlite3`: what is no UTF-8 stays bytes, and so is told from text."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text
