"""The worker processes: who sent an event, which life of a process id it was, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.audit.account import Beat, Life, Stretch
from bridge.audit.facts import Fact

BEATS = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
SILENT = 60_000_000
"""Microseconds without a heartbeat after which a process counts as gone; Celery sends one every 2 s."""
MARGIN = 1_000_000
"""Microseconds between a task's begin and the heartbeat that has to know of it."""


class Workers:
    """Every life of every worker process that was heard of."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, int], list[Life]] = {}
        self._newest: dict[str, int] = {}
        """When a worker's newest process began, by the worker's name."""

    def __iter__(self) -> Iterator[Life]:
        for lives in self._lives.values():
            yield from lives

    def beat(self, fact: Fact) -> None:
        """A heartbeat with a count; one without, as `control heartbeat` sends it, tells nothing."""
        if fact.pid is None or fact.processed is None or fact.time is None:
            return
        lives = self._lives.setdefault((fact.worker, fact.pid), [])
        beat = Beat(
            fact.time if fact.clock is None else fact.clock,
            fact.time,
            fact.time if fact.stored is None else fact.stored,
            fact.processed,
            -1 if fact.active is None else fact.active,
        )
        life = _life_at(lives, beat.time)
        if life is None or (life.latest is not None and _is_another(life.latest, beat)):
            before, life = life, Life(fact.worker, fact.pid)
            if before is not None:
                life.take_from(before, beat.time)
            lives.insert(0 if before is None else lives.index(before) + 1, life)
        life.beat(beat, first=fact.type == "worker-online", offline=fact.type == "worker-offline")
        self._newest[fact.worker] = max(self._newest.get(fact.worker, 0), life.began or 0)

    def start(self, fact: Fact) -> Life | None:
        """A task-started; returns the life that it belongs to."""
        if fact.pid is None or fact.time is None:
            return None
        life = self.life(fact.worker, fact.pid, fact.time)
        if life is None:
            life = Life(fact.worker, fact.pid)
            self._lives[fact.worker, fact.pid] = [life]
        life.start(fact.time if fact.clock is None else fact.clock, fact.time)
        return life

    def life(self, worker: str, pid: int, time: int) -> Life | None:
        """The life of a process that an event of that time belongs to, if it was heard of."""
        return _life_at(self._lives.get((worker, pid), ()), time)

    def replaced(self, life: Life, time: int) -> bool:
        """Whether the worker of that name has a newer process than one that was there at that time."""
        return self._newest.get(life.worker, 0) > max(time, life.began or 0)

    def missing(self, horizon: int) -> list[Stretch]:
        """Where task-started events are missing, by the heartbeats that were stored until then."""
        found = [stretch for life in self for stretch in life.missing(horizon)[1]]
        return sorted(found, key=lambda one: (one.start, one.worker, one.pid))

    def forget_before(self, begin: int) -> None:
        """What is older is not whole."""
        for life in self:
            life.forget_before(begin)

    def fold(self, until: int) -> None:
        """Forget what is older, but for what is missing."""
        for life in self:
            life.fold(until)


def _life_at(lives: Sequence[Life], time: int) -> Life | None:
    """The last life that had begun by then, else the first."""
    for life in reversed(lives):
        if life.began is None or life.began <= time:
            return life
    return lives[0] if lives else None


def _is_another(latest: Beat, beat: Beat) -> bool:
    """Whether it is of another life: it is later, and yet its count or its Lamport clock is lower."""
    return beat.time > latest.time and (beat.processed < latest.processed or beat.order < latest.order)
