"""Events that are there of each task. A task is forgotten once it is complete, so that memory is for the others.

A run of a task has a task-received, a task-started and an end: succeeded, failed or retried. A task that is revoked,
rejected or cancelled may have no start, one that is revoked or unknown to the worker no task-received either. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from celery_event_bridge.audit.facts import Fact

ENDS = frozenset({"task-succeeded", "task-failed", "task-retried"})
"""A run that ends so had begun."""
OTHER_ENDS = frozenset({"task-revoked", "task-rejected", "task-cancelled"})
"""Types of an end that need not."""
TYPES = ENDS | OTHER_ENDS | {"task-sent", "task-received", "task-started"}
RECENT = 20_000
"""Complete tasks that are remembered, at least; at most twice as many."""
MOST = 1_000_000
"""Tasks that are not complete and remembered all the same, at most; past it the oldest tenth is given up."""


class Task(msgspec.Struct, gc=False):
    """Events that are there of a task that is not complete."""

    uuid: str
    name: str | None = None
    worker: str = ""
    """Worker that received, started or ended it, last."""
    pid: int | None = None
    sent: int = 0
    received: int = 0
    """Number of times."""
    started: int = 0
    retried: int = 0
    final: int = 0
    """Succeeded or failed: once a task, but Celery says so twice of one that ran out of time."""
    other: int = 0
    """Revoked, rejected, cancelled or unknown to the worker."""
    received_at: int | None = None
    """The last time, in microseconds since 1970 UTC."""
    started_at: int | None = None
    """The last time."""
    ended_at: int | None = None
    """The last time, in whatever way."""
    begun_at: int | None = None
    """Time when the last run began, by its end and its run time."""
    first: Fact | None = None
    """Its first event of a worker, by the worker's clock."""
    first_sent: Fact | None = None
    last: int = 0
    """Time when the latest event was stored."""
    starter: tuple[str, int | None] | None = None
    """The worker and process id of the last start."""
    moved: bool = False
    """True if its starts are of more than one process."""

    @property
    def ends(self) -> int:
        """All of them."""
        return self.retried + self.final + self.other

    @property
    def runs(self) -> int:
        """Runs that had begun, by their ends."""
        return self.retried + min(1, self.final)

    @property
    def over(self) -> bool:
        """Return whether its last run has ended."""
        if not self.ends:
            return False
        return self.started_at is None or self.ended_at is None or self.ended_at >= self.started_at

    @property
    def complete(self) -> bool:
        """Return whether nothing is missing of the runs that are known."""
        return 0 < self.runs <= self.started <= min(self.ends, self.received)


class Tasks:
    """All that are not complete."""

    def __init__(self, recent: int = RECENT, most: int = MOST) -> None:
        """Begin; so many complete tasks are kept for a while, and so many that are not at most."""
        self._recent = recent
        self._most = most
        self._tasks: dict[str, Task] = {}
        self._complete: tuple[dict[str, Task], dict[str, Task]] = ({}, {})
        """For a while, since more may come: the younger ones and the older ones."""
        self.given_up = 0
        """Tasks that were forgotten though nothing says what became of them: there were too many."""

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def kept(self) -> int:
        """Complete tasks that are kept for a while."""
        return sum(map(len, self._complete))

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._tasks

    def add(self, fact: Fact) -> None:
        """Take in an event of a task."""
        if fact.uuid is None:
            return
        task = self._tasks.pop(fact.uuid, None) or self._again(fact.uuid) or Task(fact.uuid)
        _take(task, fact)
        if not task.complete:
            self._tasks[fact.uuid] = task
            return
        young, _ = self._complete
        young[fact.uuid] = task
        if len(young) >= self._recent:
            self._complete = ({}, young)

    def _again(self, uuid: str) -> Task | None:
        """Take up one again that was complete, and has gone on."""
        young, old = self._complete
        return young.pop(uuid, None) or old.pop(uuid, None)

    def settle(self, until: int, judge: Callable[[Task], None]) -> None:
        """Hand over and forget the tasks that are over, and of which nothing was stored since `until`."""
        for task in self.over(until):
            judge(task)
            del self._tasks[task.uuid]
        if len(self._tasks) > self._most:
            for uuid in list(self._tasks)[: self._most // 10]:
                del self._tasks[uuid]
                self.given_up += 1

    def over(self, until: int) -> list[Task]:
        """Take out those that are over, and of which nothing was stored since `until`."""
        return [task for task in self._tasks.values() if task.last <= until and task.over]


def _take(task: Task, fact: Fact) -> None:
    time = fact.time or fact.stored or 0
    task.last = max(task.last, fact.stored or time)
    task.name = task.name or fact.name
    kind = fact.type
    if kind == "task-sent":
        task.sent += 1
        if task.first_sent is None or time < (task.first_sent.time or 0):
            task.first_sent = fact
        return
    if task.first is None or time < (task.first.time or 0):
        task.first = fact
    if kind == "task-received":
        task.received += 1
        task.received_at = max(time, task.received_at or 0)
    elif kind == "task-started":
        task.started += 1
        starter = (fact.worker, fact.pid)
        task.moved = task.moved or (task.starter is not None and task.starter != starter)
        task.starter = starter
        task.started_at = max(time, task.started_at or 0)
    else:
        if kind in OTHER_ENDS or fact.refused:
            task.other += 1
        elif kind == "task-retried":
            task.retried += 1
        else:
            task.final += 1
        task.ended_at = max(time, task.ended_at or 0)
        if fact.runtime is not None:
            task.begun_at = time - round(fact.runtime * 1e6)
    task.worker, task.pid = fact.worker, fact.pid
