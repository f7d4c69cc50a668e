"""Extent of a stream, by `XINFO STREAM`; and entries' ids as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from celery_event_sinks.redis.errors import code_of

Place = tuple[int, int]
NOWHERE: Place = (0, 0)
LAST_PLACE: Place = (2**64 - 1, 2**64 - 1)
"""The highest id that there is: Redis gives none after it."""


class Extent(msgspec.Struct, frozen=True):
    """Answer to `XINFO STREAM`."""

    length: int = 0
    added: int | None = None
    """Entries that were ever added; None before Redis 7."""
    last: Place = NOWHERE
    """The last id that was given."""
    first: Place | None = None
    """The first entry's."""
    newest: Place | None = None
    """The last entry's, which may be older than the last id."""
    exists: bool = False


def extent(reply: Any) -> Extent | None:
    """Take the reply to `XINFO STREAM` apart; None where the user may not ask. Raises the ResponseError it is."""
    if isinstance(reply, ResponseError):
        if is_absent(reply):
            return Extent(added=0)
        if code_of(reply) == "NOPERM":
            return None
        raise reply
    fields = fields_of(reply)
    first, newest = fields.get(b"first-entry"), fields.get(b"last-entry")
    return Extent(
        fields[b"length"],
        fields.get(b"entries-added"),
        place(fields[b"last-generated-id"]),
        place(first[0]) if first else None,
        place(newest[0]) if newest else None,
        exists=True,
    )


def used_up(where: str, stream: bytes) -> str:
    """Say that no id is left for the next entry of a stream."""
    return (
        f"Redis at {where}: the stream {stream.decode(errors='replace')!r} has no id left for an event, as somebody "
        "has added an entry with the highest one (XADD, XSETID): RENAME it, and a new one is begun"
    )


def is_absent(reply: Any) -> bool:
    """Return whether a question about a stream was answered with that there is none."""
    return isinstance(reply, ResponseError) and "no such key" in str(reply)


def place(entry: bytes) -> Place:
    """Return an entry's id as numbers, which compare."""
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)


def entry_of(one: Place) -> bytes:
    """Return an entry's id as Redis writes it."""
    return b"%d-%d" % one


def fields_of(reply: Sequence[Any]) -> dict[bytes, Any]:
    """Return names and values in turn as a mapping."""
    return dict(zip(reply[::2], reply[1::2], strict=True))
