"""Verdicts on tasks: what is missing of one that is over, what has become of one that is not, by the stream. Pure.

Only what is certain is called missing. An event of a task that was there before the period may be from before it; one
that a worker never sent, because it was killed, is not missing but lost with the worker.
"""

from __future__ import annotations

import msgspec

from celery_event_bridge.audit.facts import Fact
from celery_event_bridge.audit.tasks import Task
from celery_event_bridge.audit.workers import MARGIN, SILENT, Workers

LISTED = 10_000
"""Tasks that are listed under a heading at most; all are counted."""


class Lack(msgspec.Struct, gc=False):
    """A task some events of which are missing."""

    uuid: str
    name: str | None
    worker: str
    pid: int | None
    time: int
    """Time when it ended, or was heard of last, in microseconds since 1970 UTC."""
    missing: int
    """Events."""


class Open(msgspec.Struct):
    """A task without an end."""

    uuid: str
    name: str | None
    worker: str
    pid: int | None
    since: int
    """Time when it was started, else received, in microseconds since 1970 UTC."""
    state: str
    """`waiting`, `running`, `gone` or `ended`."""
    started: bool
    live: str | None = None
    """State by the live system, if it was asked."""
    live_ended: bool = False
    """True if the live system has it ended before what was judged."""

    @property
    def certainly_ended(self) -> bool:
        """Return whether its end is missing, by its worker or by the live system."""
        return self.state == "ended" or self.live_ended


class Heading:
    """Tasks under one heading: all are counted, the first are listed."""

    def __init__(self) -> None:
        self.events = 0
        """Number of those that are missing."""
        self.count = 0
        self.tasks: list[Lack] = []

    def add(self, task: Task, missing: int) -> None:
        """Count one."""
        if not missing:
            return
        self.events += missing
        self.count += 1
        if len(self.tasks) < LISTED:
            time = task.ended_at or task.started_at or task.received_at or task.last
            self.tasks.append(Lack(task.uuid, task.name, task.worker, task.pid, time, missing))


class Headings:
    """Counts of what is missing of tasks that are over."""

    def __init__(self, workers: Workers, begin: int) -> None:
        self._workers = workers
        self.begin = begin
        """Microseconds since 1970 UTC: what is before it is not there."""
        self.starts, self.received, self.ends = Heading(), Heading(), Heading()
        self.names = Heading()
        self.before = Heading()
        """Events that are from before the period, or missing: nothing says which."""

    def sort(self) -> None:
        """Sort by time, however the stream has them."""
        for heading in vars(self).values():
            if isinstance(heading, Heading):
                heading.tasks.sort(key=lambda one: (one.time, one.uuid))

    def copy(self) -> Headings:
        """Counts that can be added to."""
        other = Headings(self._workers, self.begin)
        for name, heading in vars(self).items():
            if isinstance(heading, Heading):
                twin = getattr(other, name)
                twin.events, twin.count, twin.tasks = heading.events, heading.count, list(heading.tasks)
        return other

    def judge(self, task: Task) -> None:
        """Put a task that is over under the headings that it belongs to."""
        starts = max(0, task.runs - task.started)
        received = max(0, task.started - task.received, task.runs - task.received)
        whole = self._is_whole(task)
        begun_within = task.runs == 1 and task.begun_at is not None and task.begun_at >= self.begin + MARGIN
        certain = whole or begun_within
        (self.starts if certain else self.before).add(task, starts)
        (self.received if whole else self.before).add(task, received)
        # Runs on several workers: one of them may have been killed, and then sent no end.
        if not task.moved:
            self.ends.add(task, max(0, task.started - task.ends))
        self.names.add(task, int(task.name is None and (task.runs > 0 or task.started > 0)))

    def _is_whole(self, task: Task) -> bool:
        """Return whether the task's first event is within the period, be it there or missing."""
        if self._is_birth(task.first_sent) or (first := task.first) is None:
            return True
        if first.type == "task-received" and self._is_birth(first):
            return True
        if first.time is None or first.pid is None:
            return False
        life = self._workers.life(first.worker, first.pid, first.time)
        return life is not None and life.anchored

    def _is_birth(self, first: Fact | None) -> bool:
        """Return whether this is of the period, and of the first run of its task."""
        return first is not None and first.retries == 0 and first.time is not None and first.time >= self.begin


def unfinished(task: Task, workers: Workers, horizon: int) -> Open | None:
    """Return what the stream tells of a task that is not over; None if nobody has received it yet.

    `waiting`: received, not started. `running`: started, and nothing says that it does not run. `gone`: its worker's
    process is. `ended`: its worker's process says that it runs nothing, so that its end is missing.
    """
    at = task.started_at or task.received_at
    if at is None:
        return None
    started = task.started > 0
    found = Open(task.uuid, task.name, task.worker, task.pid, at, "running" if started else "waiting", started)
    life = None if task.pid is None else workers.life(task.worker, task.pid, at)
    if life is None or life.latest is None:
        found.state = "gone" if workers.replaced(task.worker, at) else found.state
        return found
    if started and life.idle_at(horizon) >= at + MARGIN:
        found.state = "ended"
    elif (
        life.offline or workers.replaced(life.worker, max(at, life.began or 0)) or life.latest.stored < horizon - SILENT
    ):
        found.state = "gone"
    return found
