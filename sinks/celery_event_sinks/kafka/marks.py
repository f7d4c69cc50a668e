"""A mark beside each committed offset: the topic's id, and how many partitions it had when the group began to read it.

An offset alone says nothing of a topic that was deleted and made again: it has the same name and other records. So what
a group commits carries the id, in the metadata that Kafka keeps beside an offset, and whoever takes the partition
compares. So does the last event that its reader has had: a log that has lost its end, and has grown again, has other
events at the same offsets, in the same topic. The number tells partitions that were added since, all new to the group,
from those that nobody has got to.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

_MARK = re.compile(r"topic=([\w+/=-]+) partitions=(\d+)(?: last=(\d+):(\w+))?")


class Last(msgspec.Struct, frozen=True):
    """Last event that a reader has had of a partition: the position's own, or a later one."""

    offset: int
    event: str
    """A digest of its id, which may be as long as somebody else likes."""

    @classmethod
    def of(cls, offset: int, event_id: str) -> Last:
        """Make it of a record's offset and id."""
        return cls(offset, hashlib.blake2b(event_id.encode(errors="surrogatepass"), digest_size=8).hexdigest())


class Mark(msgspec.Struct, frozen=True):
    """Identity of a topic."""

    topic: str
    """Its id."""
    partitions: int
    last: Last | None = None
    """None where nothing was read, or an earlier version of ours has committed."""

    def __str__(self) -> str:
        text = f"topic={self.topic} partitions={self.partitions}"
        return text if self.last is None else f"{text} last={self.last.offset}:{self.last.event}"


class Position(msgspec.Struct, frozen=True):
    """Commit of a group in a partition."""

    offset: int
    mark: Mark | None = None
    """None for what another program has committed, or an earlier version of ours."""


def position(offset: int, metadata: str | None) -> Position:
    """Read what Kafka keeps."""
    found = _MARK.fullmatch(metadata or "")
    if found is None:
        return Position(offset)
    last = None if found[3] is None else Last(int(found[3]), found[4])
    return Position(offset, Mark(found[1], int(found[2]), last))
