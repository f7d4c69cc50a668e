"""The verdict of a campaign on what was published and what is there: each kind of harm has a figure of its own."""

from __future__ import annotations

import json
from collections.abc import Set
from typing import cast

import pytest

from tests.faults.verdict import Verdict, compare
from tests.faults.workload import Workload, event_key


class Load:
    """What a workload knows afterwards."""

    def __init__(self, *obliged: bytes) -> None:
        self.obligations = [event_key(body) for body in obliged]
        self.published = set(self.obligations)
        self.parked: list[bytes] = []
        self.large: dict[bytes, tuple[bytes, ...]] = {}


BODIES = [json.dumps({"type": "task-started", "uuid": "u", "clock": number}).encode() for number in range(4)]
IDS = [event_key(body) for body in BODIES]


def verdict(stored: list[bytes], destroyed: Set[bytes] = frozenset(), witnessed: Set[bytes] = frozenset()) -> Verdict:
    return compare(cast("Workload", Load(*BODIES)), stored, [], destroyed, witnessed)


def test_all_is_there() -> None:
    """Whatever was destroyed meanwhile or read by somebody: what is there is neither lost nor vanished."""
    found = verdict(BODIES, {IDS[0]}, set(IDS))
    assert found.good
    assert (4, 0, 0, 0) == (found.distinct, found.lost, found.destroyed, found.vanished)


@pytest.mark.parametrize(
    ("destroyed", "witnessed", "lost", "gone", "vanished"),
    [
        ((), (), 1, 0, 0),
        ((), (3,), 0, 0, 1),
        ((3,), (), 0, 1, 0),
        ((3,), (3,), 0, 1, 0),
    ],
)
def test_what_is_not_there(
    destroyed: tuple[int, ...], witnessed: tuple[int, ...], lost: int, gone: int, vanished: int
) -> None:
    """Lost by a bridge, destroyed by a fault, or lost by the stream: only what a fault destroyed is right."""
    found = verdict(BODIES[:3], {IDS[one] for one in destroyed}, {IDS[one] for one in witnessed})
    assert (lost, gone, vanished) == (found.lost, found.destroyed, found.vanished)
    assert bool(gone) == found.good
    assert (set() if gone else {IDS[3]}) == found.which


def test_other_harm() -> None:
    """Twice, out of order, and changed."""
    found = verdict([BODIES[1], BODIES[0], *BODIES[1:], b'{"type": "x", "uuid": "u", "clock": 0}'])
    assert (1, 1, 1) == (found.twice, found.inversions, found.changed)
    assert not found.good
