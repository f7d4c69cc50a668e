"""A mark beside each committed offset: the topic's id, and how many partitions it had when the group began to read it.

An offset alone says nothing of a topic that was deleted and made again: it has the same name and other records. So what
a group commits carries the id, in the metadata that Kafka keeps beside an offset, and whoever takes the partition
compares. The number tells partitions that were added since, all new to the group, from those that nobody has got to.
"""

from __future__ import annotations

import re

import msgspec

_MARK = re.compile(r"topic=([\w+/=-]+) partitions=(\d+)")


class Mark(msgspec.Struct, frozen=True):
    """Identity of a topic."""

    topic: str
    """Its id."""
    partitions: int

    def __str__(self) -> str:
        return f"topic={self.topic} partitions={self.partitions}"


class Position(msgspec.Struct, frozen=True):
    """Commit of a group in a partition."""

    offset: int
    mark: Mark | None = None
    """None for what another program has committed, or an earlier version of ours."""


def position(offset: int, metadata: str | None) -> Position:
    """Read what Kafka keeps."""
    found = _MARK.fullmatch(metadata or "")
    return Position(offset, Mark(found[1], int(found[2])) if found else None)
