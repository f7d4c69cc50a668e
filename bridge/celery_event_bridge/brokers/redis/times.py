"""Times as lists of beginnings and ends, oldest first and apart from each other."""

from __future__ import annotations

from collections.abc import Iterable

Times = list[tuple[float, float]]

NEAR = 0.1
"""Seconds by which two replicas may differ on the same time: a part as short as that, which is left over, is none."""


def joined(some: Iterable[tuple[float, float]]) -> Times:
    """Return times that may overlap or touch as such that do not."""
    found: Times = []
    for begin, end in sorted(some):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def both(some: Times, others: Iterable[tuple[float, float]]) -> Times:
    """Return the times that are in both; `others` may overlap each other."""
    others = joined(others)
    found = [(max(one[0], other[0]), min(one[1], other[1])) for one in some for other in others]
    return [(begin, end) for begin, end in found if begin < end]


def without(some: Times, others: Iterable[tuple[float, float]]) -> Times:
    """Return the first times without the others."""
    left = some
    for begin, end in others:
        parts = [part for one in left for part in ((one[0], min(one[1], begin)), (max(one[0], end), one[1]))]
        left = [part for part in parts if part[0] < part[1]]
    return left


def unlike(some: Times, others: Iterable[tuple[float, float]]) -> Times:
    """Return the first times without the others, which somebody else has measured: no slivers are left over."""
    others = [*others]
    left = without(some, [(begin - NEAR, end + NEAR) for begin, end in others])
    return left if left == some else [one for one in left if one[1] - one[0] > NEAR]


def length(some: Times) -> float:
    """Return how long they are together."""
    return sum(end - begin for begin, end in some)
