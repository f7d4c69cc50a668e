"""What has become of it all: lost, changed, twice, out of order, parked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from tests import oracle


class Verdict(NamedTuple):
    """Events, unless it says messages."""

    obliged: int
    """Confirmed by RabbitMQ, to be stored."""
    stored: int
    """Records in the stream."""
    distinct: int
    lost: int
    changed: int
    """Records whose bytes nobody published."""
    twice: int
    """Records that are there again."""
    inversions: int
    """Events stored, for the first time, after a later one of the same key."""
    parked: int
    """Messages."""
    lost_parked: int
    """Messages that had to be parked and are not."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.changed or self.lost_parked)

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._asdict().items())


def compare(
    obligations: Iterable[bytes],
    parked_obligations: Iterable[bytes],
    published: set[bytes],
    stored: Iterable[bytes],
    parked: Iterable[bytes],
) -> Verdict:
    """The verdict: ids on the one side, bodies on the other."""
    seen: Counter[bytes] = Counter()
    highest: dict[str, int] = {}
    changed = inversions = 0
    for body in stored:
        event_id = bytes.fromhex(oracle.event_id(body))
        seen[event_id] += 1
        if event_id not in published:
            changed += 1
        elif seen[event_id] == 1:
            key, number = _place(body)
            inversions += number < highest.get(key, -1)
            highest[key] = max(number, highest.get(key, -1))
    in_parking = Counter(bytes.fromhex(oracle.event_id(body)) for body in parked)
    obliged = set(obligations)
    return Verdict(
        obliged=len(obliged),
        stored=seen.total(),
        distinct=len(seen),
        lost=len(obliged - seen.keys()),
        changed=changed + sum(event_id not in published for event_id in in_parking),
        twice=seen.total() - len(seen),
        inversions=inversions,
        parked=in_parking.total(),
        lost_parked=len(set(parked_obligations) - in_parking.keys()),
    )


def _place(body: bytes) -> tuple[str, int]:
    fields: dict[str, Any] = json.loads(body) if body[:1] == b"{" else msgpack.unpackb(body)
    return fields["uuid"], fields["clock"]
