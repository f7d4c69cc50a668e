"""Plays of many seeds, on all processors, and the shortest schedule of one that fails."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.simulation.faults import Card
from tests.simulation.kinds import imported, kind_of
from tests.simulation.play import Play

AT_ONCE = 4
"""Seeds that a worker plays before it reports."""
STACK = 6
"""Frames of a failure that are kept."""


class Played(NamedTuple):
    """Outcome of a play."""

    kind: str
    seed: str
    faults: int
    simulated: float
    """Seconds."""
    messages: int
    digest: str
    """Digest of its trace."""
    failure: str = ""
    """First line says what is broken; those after it, where."""

    @property
    def sort(self) -> str:
        """Return the sort of failure: shortened, a schedule has to fail in the same way."""
        return self.failure.partition(":")[0]


def play_of(kind: str) -> type[Play]:
    """Return the class of a play of a kind."""
    found: type[Play] = imported(kind_of(kind).played_by)
    return found


def play(kind: str, seed: str, cards: Sequence[Card] | None = None) -> tuple[Played, Play]:
    """Play one seed to its end, or to its failure."""
    one, failure = play_of(kind)(seed, kind, cards), ""
    try:
        one.run()
    except Exception as exc:  # noqa: BLE001 - whatever a play raises is its verdict
        name = "" if isinstance(exc, AssertionError) else f"{type(exc).__name__}: "
        failure = f"{name}{exc}\n{''.join(traceback.format_tb(exc.__traceback__)[-STACK:])}"
    world = one.world
    return Played(kind, seed, len(one.cards), world.now, one.oracle.published, world.trace.digest(), failure), one


def plays(kinds: Sequence[str], first: int, seconds: float, *, most: int | None = None) -> Iterator[Played]:
    """Play seeds from `first` on, in each kind in turn, for so many real seconds or `most` plays."""
    deadline = time.monotonic() + seconds
    jobs = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    with multiprocessing.get_context("spawn").Pool(jobs or 1) as pool:
        under_way = []
        number = 0
        while ((most is None or number < most) and time.monotonic() < deadline) or under_way:
            while len(under_way) < 2 * (jobs or 1) and (most is None or number < most) and time.monotonic() < deadline:
                some = [
                    (kinds[one % len(kinds)], str(first + one // len(kinds)))
                    for one in range(number, min(number + AT_ONCE, most or number + AT_ONCE))
                ]
                number += len(some)
                under_way.append(pool.apply_async(_batch, (some,)))
            yield from under_way.pop(0).get()


def _batch(some: Sequence[tuple[str, str]]) -> list[Played]:
    return [play(kind, seed)[0] for kind, seed in some]


def shrunk(failed: Played, seconds: float) -> tuple[list[Card], Played, Play]:
    """Leave out cards, halves first and single ones last, while it fails in the same way, for so many real seconds.

    The algorithm is ddmin: Zeller and Hildebrandt, Simplifying and isolating failure-inducing input, 2002.
    """
    deadline = time.monotonic() + seconds
    cards = list(play_of(failed.kind)(failed.seed, failed.kind).cards)
    best, picture = play(failed.kind, failed.seed, cards)
    size = len(cards) // 2
    while size and time.monotonic() < deadline:
        first = 0
        while first < len(cards) and time.monotonic() < deadline:
            fewer = cards[:first] + cards[first + size :]
            tried, one = play(failed.kind, failed.seed, fewer)
            if tried.failure and tried.sort == failed.sort:
                cards, best, picture = fewer, tried, one
            else:
                first += size
        size //= 2
    return cards, best, picture
