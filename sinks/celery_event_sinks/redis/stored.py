"""An entry of a Redis stream to a record; what no bridge has written is handed over as it is, and says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from typing import Any

from celery_event_bridge.contract import JSON, Record
from celery_event_sinks.redis.extent import Place, place

Found = list[tuple[bytes, list[tuple[Place, list[bytes]]]]]
"""By stream: the entries' places and fields."""

USUAL = [b"data", b"id", b"type", b"source", b"subject", b"time"]
"""The fields of a task's event in JSON, in the order in which the sink writes them."""
NAMED = [*USUAL, b"broker"]
"""The same of a bridge whose broker has a name."""


def record(partition: Hashable, at: tuple[int, int], fields: Sequence[bytes]) -> Record:
    """Take the fields apart. Never raises, whatever they are."""
    subject: bytes | None
    time: bytes | None
    content_type: bytes | None
    broker: bytes | None
    try:
        names = fields[::2]
        if names == USUAL:  # most are, and a dict would cost as much as all the rest
            _, data, _, event_id, _, event_type, _, source, _, subject, _, time = fields
            content_type = broker = None
        elif names == NAMED:
            _, data, _, event_id, _, event_type, _, source, _, subject, _, time, _, broker = fields
            content_type = None
        else:
            found = dict(zip(names, fields[1::2], strict=True))
            data, event_id, event_type, source = found[b"data"], found[b"id"], found[b"type"], found[b"source"]
            time, subject = found.get(b"time"), found.get(b"subject")
            content_type, broker = found.get(b"content_type"), found.get(b"broker")
        return Record(
            partition,
            at,
            event_id.decode(),
            event_type.decode(),
            source.decode(),
            None if subject is None else subject.decode(),
            None if time is None else int(time),
            data,
            JSON if content_type is None else content_type.decode(),
            at[0] * 1000,
            None,
            None if broker is None else broker.decode(),
        )
    except (KeyError, ValueError) as exc:
        what = f"it has no field {exc}" if isinstance(exc, KeyError) else str(exc)
        return _foreign(partition, at, dict(zip(fields[::2], fields[1::2], strict=True)), what)


def _foreign(partition: Hashable, at: tuple[int, int], found: dict[bytes, bytes], what: str) -> Record:
    text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in found.items()}
    data = found.get(b"data", json.dumps(text).encode())
    problem = f"entry {at[0]}-{at[1]} was not written by a bridge: {what}"
    event_id = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Record(partition, at, event_id, "", "unknown", None, None, data, JSON, at[0] * 1000, problem)


def found_in(reply: Any) -> Found:
    """Return the entries of a reply. One that was trimmed comes without its fields, or as nothing: it is left out."""
    return [
        (stream, [(place(one[0]), one[1]) for one in entries if one is not None and one[1] is not None])
        for stream, entries in reply or ()
    ]
