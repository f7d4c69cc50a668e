"""An entry of a Redis stream to a record; what no bridge has written is handed over as it is, and says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from bridge.contract import JSON, Record


def record(stream: bytes, at: tuple[int, int], fields: Sequence[bytes]) -> Record:
    """Never raises, whatever the fields are."""
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        data = found[b"data"]
        time, subject, content_type = found.get(b"time"), found.get(b"subject"), found.get(b"content_type")
        return Record(
            stream,
            at,
            found[b"id"].decode(),
            found[b"type"].decode(),
            found[b"source"].decode(),
            None if subject is None else subject.decode(),
            None if time is None else int(time),
            data,
            JSON if content_type is None else content_type.decode(),
            at[0] * 1000,
        )
    except (KeyError, ValueError) as exc:
        what = f"it has no field {exc}" if isinstance(exc, KeyError) else str(exc)
        return _foreign(stream, at, found, what)


def _foreign(stream: bytes, at: tuple[int, int], found: dict[bytes, bytes], what: str) -> Record:
    text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in found.items()}
    data = found.get(b"data", json.dumps(text).encode())
    problem = f"entry {at[0]}-{at[1]} was not written by a bridge: {what}"
    event_id = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Record(stream, at, event_id, "", "unknown", None, None, data, JSON, at[0] * 1000, problem)
