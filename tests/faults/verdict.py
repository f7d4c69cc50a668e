"""What has become of it all: lost, changed, twice, out of order, parked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Set
from typing import Any, NamedTuple

import msgpack

from tests.faults.workload import Workload, event_key


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
    destroyed: int
    """Stored, and destroyed with the stream by a fault."""
    vanished: int
    """Stored, since somebody else has read them, and there no more, though no fault has destroyed them: lost by the
    stream, after its confirm."""
    parked: int
    """Messages."""
    lost_parked: int
    """Messages that had to be parked and are not."""
    which: Set[bytes] = frozenset()
    """The ids of what is lost."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.changed or self.vanished or self.lost_parked)

    def __str__(self) -> str:
        figures = self._asdict()
        del figures["which"]
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())


def compare(
    workload: Workload,
    stored: Iterable[bytes],
    parked: Iterable[bytes],
    destroyed: Set[bytes],
    witnessed: Set[bytes] = frozenset(),
) -> Verdict:
    """The verdict on bodies in the stream and in the parking queue, and on the ids of what was destroyed and of what
    somebody else has read.
    """
    published = workload.published
    seen: Counter[bytes] = Counter()
    highest: dict[str, int] = {}
    changed = inversions = 0
    for body in stored:
        event_id = event_key(body)
        seen[event_id] += 1
        if event_id not in published:
            changed += 1
        elif seen[event_id] == 1:
            key, number = _place(body)
            inversions += number < highest.get(key, -1)
            highest[key] = max(number, highest.get(key, -1))
    in_parking = Counter(map(event_key, parked))
    obliged = set(workload.obligations)
    refused = {one for message in in_parking for one in workload.large.get(message, ())}
    missing = obliged - seen.keys() - destroyed - refused
    vanished = missing & witnessed
    lost = missing - witnessed
    lost_parked = set(workload.parked) - in_parking.keys()
    return Verdict(
        obliged=len(obliged),
        stored=seen.total(),
        distinct=len(seen),
        lost=len(lost),
        changed=changed + sum(one not in published and one not in workload.large for one in in_parking),
        twice=seen.total() - len(seen),
        inversions=inversions,
        destroyed=len(obliged & destroyed - seen.keys()),
        vanished=len(vanished),
        parked=in_parking.total(),
        lost_parked=len(lost_parked),
        which=missing | lost_parked,
    )


def _place(body: bytes) -> tuple[str, int]:
    fields: dict[str, Any] = json.loads(body) if body[:1] == b"{" else msgpack.unpackb(body)
    return fields["uuid"], fields["clock"]
