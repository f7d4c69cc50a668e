"""Entries that the groups of a stream still need, of those that are there and of those that were until lately.

A group that is gone says no more what it had not read. Its readers make it again where it was, as soon as they notice;
what was removed before that is lost to them. So what it needed is kept for HOLD. Nor does a group say what a consumer
had in hand that somebody has deleted. Readers remember it and hand it out again, so that is kept for a while, too.
Pure state.
See docs/decisions/0023-group-gone.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from celery_event_sinks.redis.extent import Place

HOLD = 3600.0
"""Seconds for which what a group needed is kept once the group is gone."""
HOLD_OF_A_CONSUMER = 600.0
"""Seconds for which what a group needed is kept once a consumer is gone that had entries in hand: readers notice that
within two leases.
"""
OURS = b"celery-event-bridge"
"""The group that is made and removed again where a stream is to be made without an entry."""


class NeededEntries:
    """The first entry that each group of each stream needs, from one look to the next."""

    def __init__(self, hold: float = HOLD) -> None:
        self._hold = hold
        self._there: dict[bytes, dict[bytes, Place]] = {}
        """By stream and group, as the last look found it."""
        self._gone: dict[bytes, dict[bytes, tuple[Place, float]]] = {}
        """By stream and group: what it needed, and until when that is kept."""
        self._in_hand: dict[tuple[bytes, bytes], frozenset[bytes]] = {}
        """Consumers that had entries in hand at the last look, by stream and group."""
        self._lost: dict[bytes, list[tuple[Place, float]]] = {}
        """By stream: what a group needed that has lost a consumer, and until when that is kept."""

    def settled(self, stream: bytes, group: bytes, in_hand: Collection[bytes]) -> frozenset[bytes]:
        """Return the consumers that had entries in hand at the last look and have none any more; `in_hand` have."""
        before = self._in_hand.get((stream, group), frozenset())
        self._in_hand[stream, group] = frozenset(in_hand)
        return before.difference(in_hand)

    def lost(self, stream: bytes, group: bytes, now: float) -> None:
        """Take note, before a look, that one of those is gone: nobody knows whether it had acknowledged what it had."""
        if (first := self._there.get(stream, {}).get(group)) is not None:
            self._lost.setdefault(stream, []).append((first, now + HOLD_OF_A_CONSUMER))

    def look(self, stream: bytes, groups: Mapping[bytes, Place], now: float) -> list[bytes]:
        """Take note of the first entry that each group needs; returns the groups that are gone since the last look."""
        groups = {name: first for name, first in groups.items() if name != OURS}
        vanished = {name: first for name, first in self._there.get(stream, {}).items() if name not in groups}
        kept = self._gone.get(stream, {}) | {name: (first, now + self._hold) for name, first in vanished.items()}
        self._there[stream] = groups
        self._gone[stream] = {name: one for name, one in kept.items() if name not in groups and one[1] > now}
        self._lost[stream] = [one for one in self._lost.get(stream, ()) if one[1] > now]
        return sorted(vanished)

    def first(self, stream: bytes) -> Place | None:
        """Return the first entry that any of them needs; None where there is no group, so that all is kept."""
        there = self._there.get(stream)
        if not there:
            return None
        kept = (*self._gone[stream].values(), *self._lost[stream])
        return min([*there.values(), *(first for first, _ in kept)])
