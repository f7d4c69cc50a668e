"""Event by event through all that is looked at, in bounded memory, and a report whenever it is asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import msgspec

from celery_event_bridge.audit.account import Stretch
from celery_event_bridge.audit.delays import Delays
from celery_event_bridge.audit.facts import Fact, fact, sender
from celery_event_bridge.audit.order import Duplicates, Inversions
from celery_event_bridge.audit.report import Excess, Lateness, Report
from celery_event_bridge.audit.tasks import ENDS, TYPES, Task, Tasks
from celery_event_bridge.audit.verdicts import Heading, Headings, Open, unfinished
from celery_event_bridge.audit.workers import BEATS, MARGIN, Workers
from celery_event_bridge.contract import Record

CONFIRMING = 30_000_000
"""Microseconds after the period, whose heartbeats have a say in what went missing at its end."""
TIDY_EVERY = 50_000
"""Events between two times of forgetting."""
KINDS = 10_000
"""Pairs of worker and type that are counted singly; a publisher can invent any number."""
OTHER = "other"
PROBLEMS = 20
RESOLUTION = 1000
"""Microseconds, in which Redis and Kafka keep the time at which an event was stored."""


class Wanted(msgspec.Struct, frozen=True):
    """Options of an audit."""

    since: int | None = None
    """Microseconds since 1970 UTC; None: from the beginning of the stream."""
    until: int | None = None
    late: int = 3_600_000_000
    """Microseconds that an event may come later than others of its time; what is older is put away."""
    type: Callable[[str], bool] = lambda _: True
    """The types that are stored at all: what is left out on purpose is not missing."""
    worker: Callable[[str], bool] = lambda _: True
    task: Callable[[str], bool] = lambda _: True
    """By a task's name; a nameless one has the empty name."""
    apart: bool = True
    """True if workers of one name on two brokers are two, `celery@web (eu)` and `celery@web (us)`."""


class Auditor:
    """Takes records in the order of the stream."""

    def __init__(self, wanted: Wanted | None = None, tasks: Tasks | None = None) -> None:
        self._wanted = wanted = wanted or Wanted()
        self._counts: dict[tuple[str, str], int] = {}
        self._events = self._duplicates = self._undecodable = 0
        self._problems: list[str] = []
        self._seen = Duplicates()
        self._order = Inversions()
        self._inversions: dict[str, Lateness] = {}
        self._delays = Delays()
        self._workers = Workers()
        self._tasks = Tasks() if tasks is None else tasks
        self._speaking: set[tuple[str, int]] = set()
        """Processes with an event of a task."""
        self._headings = Headings(self._workers, wanted.since or 0)
        self._partitions: set[Hashable] = set()
        self._since_tidied = 0
        self._oldest: int | None = None
        """Time when the first of the events that are counted was stored."""
        self.skipped = 0
        """Records that were gone before they were read; assigned by who reads."""
        self.newest = 0
        """Time when the last record was stored, in microseconds since 1970 UTC."""

    def add(self, record: Record) -> None:
        """Take in a record, whatever it is."""
        if record.stored is not None:
            self.newest = max(self.newest, record.stored)
        if record.partition not in self._partitions:
            self._begin(record)
        if self._seen.seen(record.id):
            self._duplicates += self._is_asked_for(record)
            return
        one = fact(record)
        if one.problem is not None:
            if not self._is_asked_for(record):
                return
            self._count(one)
            self._undecodable += 1
            if len(self._problems) < PROBLEMS:
                self._problems.append(f"{record.id}: {one.problem}")
            return
        if self._wanted.worker(one.worker) or one.type == "task-sent":
            if record.broker is not None and self._wanted.apart:
                one.worker = f"{one.worker} ({record.broker})"
            self._add(one, record.partition)
        self._since_tidied += 1
        if self._since_tidied >= TIDY_EVERY:
            self.tidy()

    def tidy(self) -> None:
        """Put away what is old."""
        self._since_tidied = 0
        until = self.newest - self._wanted.late
        self._workers.fold(until)
        self._tasks.settle(until, self._judge(self._headings))

    def report(self, now: int, settle: int) -> Report:
        """Return what is found so far; the last `settle` microseconds of storing before `now` are not judged yet."""
        wanted, horizon = self._wanted, now - settle
        until = now
        if wanted.until is not None:
            until = min(now, wanted.until)
            horizon = min(horizon, wanted.until + wanted.late)
        headings = self._headings.copy()
        judge = self._judge(headings)
        for task in self._tasks.over(horizon):
            judge(task)
        headings.sort()
        heard = horizon if wanted.until is None else min(horizon, wanted.until + CONFIRMING)
        open_tasks = self._open(heard)
        stretches = (
            self._workers.missing(horizon, wanted.until) if self._has({"task-started", "worker-heartbeat"}) else []
        )
        missing: dict[str, int] = {}
        for stretch in stretches:
            missing[stretch.worker] = missing.get(stretch.worker, 0) + stretch.missing
        return Report(
            since=self._headings.begin or None,
            until=until,
            horizon=min(horizon, until),
            events=self._events,
            judged=self._oldest is not None and self._oldest <= horizon,
            counts=dict(self._counts),
            undecodable=self._undecodable,
            problems=list(self._problems),
            stretches=stretches,
            missing_starts=missing,
            accounted=self._accounted(),
            silent=self._silent(stretches),
            unaccounted=self._unaccounted(),
            starts=headings.starts if self._has({"task-started"}) else Heading(),
            received=headings.received if self._has({"task-received"}) else Heading(),
            ends=headings.ends if self._has(ENDS) else Heading(),
            before=headings.before,
            names=headings.names,
            open=open_tasks,
            waiting_to_be_received=sum(
                1 for task in self._tasks if task.sent and not task.received and not task.started
            ),
            excess=self._excess(open_tasks, heard),
            duplicates=self._duplicates,
            inversions=dict(self._inversions),
            delays=self._delays,
            given_up=self._tasks.given_up,
            skipped=self.skipped,
        )

    def _begin(self, record: Record) -> None:
        """Take note of where knowledge begins: at the stream's first record, or a partition's that has been trimmed."""
        first = not self._partitions
        self._partitions.add(record.partition)
        trimmed = isinstance(record.position, int) and record.position > 1
        if self._wanted.since is None and record.stored is not None and (first or trimmed):
            self._headings.begin = max(self._headings.begin, record.stored)
            if not first:
                self._workers.forget_before(self._headings.begin)

    def _is_asked_for(self, record: Record) -> bool:
        """Return whether it is asked for, by what the record itself says, for those that are not looked into."""
        time = record.stored if record.time is None else record.time
        return self._is_within(time) and (self._wanted.worker(record.source) or record.type == "task-sent")

    def _is_within(self, time: int | None) -> bool:
        since, until = self._wanted.since, self._wanted.until
        return time is None or ((since is None or time >= since) and (until is None or time < until))

    def _add(self, one: Fact, partition: Hashable) -> None:
        time = one.stored if one.time is None else one.time
        until = self._wanted.until
        within = self._is_within(time)
        early_enough = until is None or time is None or time < until
        if within:
            self._count(one)
            self._look_at(one, partition)
        confirms = until is not None and time is not None and until <= time < until + CONFIRMING
        if one.type in BEATS:
            if within or confirms:
                self._workers.beat(one)
        elif one.type in TYPES:
            if one.type == "task-started" and (early_enough or confirms):
                self._workers.start(one)
            # What comes after the period ends what was there before, and begins nothing.
            if early_enough or (one.uuid or "") in self._tasks:
                self._tasks.add(one)

    def _look_at(self, one: Fact, partition: Hashable) -> None:
        if one.time is not None and one.stored is not None:
            self._delays.add(_delay(one.time, one.stored))
        late = self._order.late_by(partition, one)
        if late is not None:
            worker = sender(one.worker, one.type)
            worker = worker if worker in self._inversions or len(self._inversions) < KINDS else OTHER
            found = self._inversions.setdefault(worker, Lateness())
            found.events += 1
            found.seconds = max(found.seconds, late / 1e6)

    def _count(self, one: Fact) -> None:
        self._events += 1
        stored = one.stored or 0
        self._oldest = stored if self._oldest is None else min(self._oldest, stored)
        key = (sender(one.worker, one.type), one.type)
        if key not in self._counts and len(self._counts) >= KINDS:
            key = (OTHER, OTHER)
        self._counts[key] = self._counts.get(key, 0) + 1
        if one.pid is not None and one.type in TYPES and one.type != "task-sent" and len(self._speaking) < KINDS:
            self._speaking.add((one.worker, one.pid))

    def _judge(self, headings: Headings) -> Callable[[Task], None]:
        def judge(task: Task) -> None:
            if self._wanted.task(task.name or ""):
                headings.judge(task)

        return judge

    def _has(self, types: frozenset[str] | set[str]) -> bool:
        """Return whether these are stored at all."""
        return all(self._wanted.type(kind) for kind in types)

    def _open(self, horizon: int) -> list[Open]:
        found = []
        for task in self._tasks:
            if not task.over and self._wanted.task(task.name or ""):
                one = unfinished(task, self._workers, horizon)
                if one is not None:
                    if one.state == "ended" and not self._has(ENDS):
                        one.state = "running"
                    found.append(one)
        return sorted(found, key=lambda one: (one.since, one.uuid))

    def _excess(self, tasks: Sequence[Open], horizon: int) -> list[Excess]:
        """Return by how many tasks that seem to run, or be lost, their process's last heartbeat is exceeded."""
        if not self._has(ENDS):
            return []
        running: dict[tuple[str, int], list[Open]] = {}
        for one in tasks:
            if one.started and one.state != "ended" and one.pid is not None:
                running.setdefault((one.worker, one.pid), []).append(one)
        found = []
        for (worker, pid), some in running.items():
            life = self._workers.life(worker, pid, some[-1].since)
            beat = None if life is None else life.last_beat(horizon)
            if beat is not None and beat.active >= 0:
                count = len([one for one in some if one.since + MARGIN <= beat.time])
                if count > beat.active:
                    found.append(Excess(worker, pid, count, beat.active))
        return found

    def _silent(self, stretches: Sequence[Stretch]) -> dict[str, list[int]]:
        """Return, by worker, its processes that miss starts and have sent no event of a task."""
        found: dict[str, set[int]] = {}
        for one in stretches:
            if (one.worker, one.pid) not in self._speaking or self._workers.was_silent(one):
                found.setdefault(one.worker, set()).add(one.pid)
        return {worker: sorted(pids) for worker, pids in sorted(found.items())}

    def _accounted(self) -> list[str]:
        """Return the workers that have given an account lately."""
        since = self.newest - self._wanted.late
        return sorted({life.worker for life in self._workers if life.latest and life.latest.stored >= since})

    def _unaccounted(self) -> list[str]:
        told = {life.worker for life in self._workers if life.latest is not None}
        return sorted({life.worker for life in self._workers} - told)


def _delay(time: int, stored: int) -> int:
    """Microseconds between the two; none where Redis or Kafka, which keep milliseconds, round it to less than that."""
    delay = stored - time
    return 0 if stored % RESOLUTION == 0 and -RESOLUTION < delay < 0 else delay
