"""Findings of an audit, and their JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from celery_event_bridge.audit.account import Stretch
from celery_event_bridge.audit.delays import PERCENTILES, Delays
from celery_event_bridge.audit.verdicts import Heading, Lack, Open

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Lateness(msgspec.Struct):
    """A worker's events that came after later ones of its own."""

    events: int = 0
    seconds: float = 0.0
    """The most by which one was late."""


class Excess(msgspec.Struct):
    """A process that runs fewer tasks than have no end: so many ends are missing, of whichever of them."""

    worker: str
    pid: int
    without_end: int
    active: int


class Report(msgspec.Struct):
    """Times are microseconds since 1970 UTC here, and RFC 3339 in the JSON."""

    since: int | None
    until: int
    horizon: int
    """Records that were stored later are not judged yet."""
    events: int
    judged: bool
    """True if any of them was stored early enough to be judged."""
    counts: Mapping[tuple[str, str], int]
    """By worker and type."""
    undecodable: int
    problems: Sequence[str]
    stretches: Sequence[Stretch]
    missing_starts: Mapping[str, int]
    """By the workers' own account."""
    accounted: Sequence[str]
    """Workers that have given an account lately, whether anything is missing or not."""
    silent: Mapping[str, Sequence[int]]
    """By worker, the processes that have a count of tasks and no event of a task: are task events switched on?"""
    unaccounted: Sequence[str]
    """Workers that started tasks and sent no heartbeat with a count."""
    starts: Heading
    received: Heading
    ends: Heading
    before: Heading
    names: Heading
    open: Sequence[Open]
    waiting_to_be_received: int
    excess: Sequence[Excess]
    duplicates: int
    inversions: Mapping[str, Lateness]
    delays: Delays
    given_up: int
    skipped: int = 0
    """Records that were gone from the stream before the audit came to them."""
    asked: str | None = None
    """Workers that were asked of the tasks without an end, and those that answered."""

    @property
    def missing_ends(self) -> int:
        """Ends that are certain to be missing: by the tasks, by their workers, or by the live system."""
        told = [task for task in self.open if task.certainly_ended]
        extra = 0
        for one in self.excess:
            here = sum(1 for task in told if task.state != "ended" and (task.worker, task.pid) == (one.worker, one.pid))
            extra += max(0, one.without_end - one.active - here)
        return self.ends.events + len(told) + extra

    @property
    def missing(self) -> bool:
        """Return whether anything is missing for certain."""
        told = self.missing_starts or self.starts.events or self.received.events or self.missing_ends
        return bool(told or self.skipped)

    @property
    def empty(self) -> str:
        """Return why there is nothing to be said, where it is so: no event, or none that is judged; else nothing."""
        if self.missing or self.judged:
            return ""
        if self.events:
            return f"nothing was judged: all of the {self.events} events were stored too short a time ago (--settle)"
        return (
            "nothing was read: the stream holds no event of this period and these workers; do bridges run, and workers "
            "with task events (celery worker -E)?"
        )

    def types(self) -> dict[str, int]:
        """Return the numbers of events by type."""
        return _summed((kind, count) for (_, kind), count in self.counts.items())

    def workers(self) -> dict[str, int]:
        """Return the numbers of events by worker."""
        return _summed((worker, count) for (worker, _), count in self.counts.items())

    def json(self) -> dict[str, Any]:
        """Return it as `--format json` writes it."""
        return {
            "missing": self.missing,
            "judged": self.judged,
            "since": iso(self.since),
            "until": iso(self.until),
            "judged_until": iso(self.horizon),
            "events": {
                "count": self.events,
                "by_type": dict(sorted(self.types().items())),
                "by_worker": _nested(self.counts),
                "undecodable": self.undecodable,
                "problems": list(self.problems),
                "gone_before_read": self.skipped,
            },
            "account": {
                "missing": sum(self.missing_starts.values()),
                "by_worker": dict(sorted(self.missing_starts.items())),
                "stretches": [
                    {
                        "worker": one.worker,
                        "pid": one.pid,
                        "from": iso(one.start),
                        "until": iso(one.end),
                        "missing": one.missing,
                    }
                    for one in self.stretches
                ],
                "no_task_events": list(self.silent),
                "no_heartbeats": list(self.unaccounted),
            },
            "tasks": {
                "starts_missing": _heading(self.starts),
                "received_missing": _heading(self.received),
                "ends_missing": _heading(self.ends) | {"in_all": self.missing_ends},
                "names_missing": _heading(self.names),
                "perhaps_before": _heading(self.before),
                "sent_only": self.waiting_to_be_received,
                "without_end": [self._open(one) for one in self.open],
                "ends_fewer_active": [msgspec.to_builtins(one) for one in self.excess],
                "asked": self.asked,
                "given_up": self.given_up,
            },
            "duplicates": self.duplicates,
            "inversions": {worker: msgspec.to_builtins(one) for worker, one in sorted(self.inversions.items())},
            "delays": {
                "events": self.delays.count,
                "before_their_time": self.delays.ahead,
                "seconds": {f"p{percent:g}": round(self.delays.percentile(percent), 6) for percent in PERCENTILES}
                | {"max": self.delays.longest / 1e6},
            },
        }

    def _open(self, one: Open) -> dict[str, Any]:
        return {
            "uuid": one.uuid,
            "name": one.name,
            "worker": one.worker,
            "pid": one.pid,
            "since": iso(one.since),
            "seconds": max(0.0, (self.until - one.since) / 1e6),
            "state": one.state,
            "live": one.live,
        }


def iso(microseconds: int | None) -> str | None:
    """RFC 3339 in UTC; None where it is no time that a calendar has."""
    if microseconds is None:
        return None
    try:
        return (_EPOCH + datetime.timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


def _heading(heading: Heading) -> dict[str, Any]:
    return {"missing": heading.events, "count": heading.count, "tasks": [_lack(one) for one in heading.tasks]}


def _lack(one: Lack) -> dict[str, Any]:
    return {
        "uuid": one.uuid,
        "name": one.name,
        "worker": one.worker,
        "pid": one.pid,
        "time": iso(one.time),
        "missing": one.missing,
    }


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Nest by the first part of the key, then by the second, in order, in one go: there may be thousands of workers."""
    found: dict[str, dict[str, int]] = {}
    for (worker, kind), count in sorted(counts.items()):
        found.setdefault(worker, {})[kind] = count
    return found


def _summed(pairs: Iterator[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in pairs:
        found[name] = found.get(name, 0) + count
    return found
