"""The worker processes: who sent an event, which life of a process id it was, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celery_event_bridge.audit.account import Beat, Life, Stretch
from celery_event_bridge.audit.facts import Fact

BEATS = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
SILENT = 60_000_000
"""Microseconds without a heartbeat after which a process counts as gone; Celery sends one every 2 s."""
LIVES = 10_000
"""Processes that are remembered at most."""
MARGIN = 1_000_000
"""Microseconds between a task's begin and the heartbeat that has to know of it."""


class Workers:
    """Every life of every worker process that was heard of."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, int], list[Life]] = {}
        self._newest: dict[str, int] = {}
        """Time when a worker's newest process began, by the worker's name."""
        self._past: list[Stretch] = []
        """Sums of processes that are forgotten."""

    def __iter__(self) -> Iterator[Life]:
        for lives in self._lives.values():
            yield from lives

    def beat(self, fact: Fact) -> None:
        """Take in a heartbeat with a count; one without, as `control heartbeat` sends it, tells nothing."""
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
        """Take in a task-started, and return the life that it belongs to."""
        if fact.pid is None or fact.time is None:
            return None
        life = self.life(fact.worker, fact.pid, fact.time)
        if life is None:
            life = Life(fact.worker, fact.pid)
            self._lives[fact.worker, fact.pid] = [life]
        life.start(fact.time if fact.clock is None else fact.clock, fact.time)
        return life

    def life(self, worker: str, pid: int, time: int) -> Life | None:
        """Return the life of a process that an event of that time belongs to, if it was heard of."""
        return _life_at(self._lives.get((worker, pid), ()), time)

    def was_silent(self, stretch: Stretch) -> bool:
        """Return whether the life of this stretch has not started a task, as far as it has said, where others of the
        same process id may have: in a container each has the same.
        """
        lives = self._lives.get((stretch.worker, stretch.pid), ())
        life = _life_at(lives, stretch.end)
        return len(lives) > 1 and life is not None and not life.starts

    def replaced(self, worker: str, time: int) -> bool:
        """Return whether the worker of that name has a process that began after that time."""
        return self._newest.get(worker, 0) > time

    def missing(self, horizon: int, until: int | None = None) -> list[Stretch]:
        """Return where task-started events are missing, by the heartbeats that were stored until `horizon`."""
        found = self._past + [stretch for life in self for stretch in life.missing(horizon, until)]
        return sorted(found, key=lambda one: (one.start, one.worker, one.pid))

    def forget_before(self, begin: int) -> None:
        """Drop what is older, which is not whole."""
        for life in self:
            life.forget_before(begin)

    def fold(self, until: int) -> None:
        """Forget what is older, but for what is missing; and of too many processes the oldest."""
        for life in self:
            life.fold(until)
        if sum(len(lives) for lives in self._lives.values()) > LIVES:
            ordered = sorted(self, key=lambda life: life.latest.stored if life.latest else 0)
            for life in ordered[: LIVES // 10]:
                self._past = (self._past + life.missing(until))[-LIVES:]
                self._lives[life.worker, life.pid].remove(life)
            self._lives = {key: lives for key, lives in self._lives.items() if lives}
            self._newest = {worker: self._newest[worker] for worker, _ in self._lives if worker in self._newest}


def _life_at(lives: Sequence[Life], time: int) -> Life | None:
    """Return the last life that had begun by then, else the first."""
    for life in reversed(lives):
        if life.began is None or life.began <= time:
            return life
    return lives[0] if lives else None


def _is_another(latest: Beat, beat: Beat) -> bool:
    """Return whether it is of another life: it is later, and yet its count or its Lamport clock is lower."""
    return beat.time > latest.time and (beat.processed < latest.processed or beat.order < latest.order)
