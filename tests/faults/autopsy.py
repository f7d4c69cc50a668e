"""When what is lost was published: between which faults, so that a loss of a long campaign can be looked into."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple


class Mark(NamedTuple):
    """How far the publisher was when a fault began."""

    seconds: float
    name: str
    obligations: int
    parked: int
    """So many events, and messages to be parked, had been confirmed."""


def report(
    kind: str, lost: Set[bytes], confirmed: Sequence[bytes], before: Sequence[int], marks: Sequence[Mark]
) -> Iterator[str]:
    """A line for each fault during or after which something was confirmed that is lost.

    `confirmed` are the ids in the order of their confirms, `before` how many of them there were at each mark.
    """
    found = [position for position, one in enumerate(confirmed) if one in lost]
    during = Counter(bisect_left(before, position + 1) - 1 for position in found)
    for number, count in sorted(during.items()):
        mark = marks[number] if number >= 0 else Mark(0.0, "the first fault is awaited", 0, 0)
        here = [position - before[number] for position in found if bisect_left(before, position + 1) - 1 == number]
        yield (
            f"{count} {kind} lost that were confirmed from {mark.seconds:.1f} s on, {mark.name!r}: "
            f"the {min(here)}th to the {max(here)}th after it began"
        )
