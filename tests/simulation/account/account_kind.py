"""World in which overflow is small, and the audit reads at the end what is stored."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.audit.report import Report
from celery_event_bridge.contract import Event, Record
from tests.simulation.account.accounting_worker import AccountingWorker
from tests.simulation.contract.stream import Stream
from tests.simulation.kinds import BOUND, Kind
from tests.simulation.messages import HOSTS
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_rabbitmq import RabbitMQ
from tests.simulation.scheduler import EPOCH

if TYPE_CHECKING:
    from tests.simulation.account.account_play import AccountPlay
    from tests.simulation.play import Play

OVERFLOW = 40_000
"""Bytes that overflow takes: some seconds of what is published."""
SECOND = 1_000_000
"""Microseconds."""
LAST_BEATS = 3
A_LOOK = 500
"""Records between two reports on the way."""
SETTLE = 300 * SECOND
"""Microseconds that are not judged yet: all that is late in a play is there by then."""


class KeptStream(Stream):
    """Keeps the records, to be read."""

    def __init__(self, play: Play) -> None:
        super().__init__(play.world, play.oracle.stored)
        self.records: list[Record] = []

    def store(self, event: Event) -> None:
        """Store an event once more."""
        super().store(event)
        place, at = len(self.records) + 1, round((EPOCH + self.world.now) * SECOND)
        found = (event.type, event.source, event.subject, event.time, event.data)
        self.records.append(Record("0", place, event.id, *found, stored=at))


class AccountKind(Kind):
    """As `contract`, with workers that keep account, a small overflow, and the audit at the end."""

    played_by: ClassVar[str] = "tests.simulation.account.account_play:AccountPlay"
    play: AccountPlay

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.rabbit = RabbitMQ(play.world, play.oracle.removed, bound=BOUND, overflow=OVERFLOW)
        self.stream: KeptStream = KeptStream(play)
        self.workers = [AccountingWorker(play.world, f"w{number}@host") for number in range(HOSTS)]

    def check(self) -> None:
        """Judge nothing on the way: that is what `contract` does."""

    def finish(self) -> None:
        """Let every task end, and every worker say its account once more."""
        for worker in self.workers:
            while self.play.say(worker.rest):
                pass
        for _ in range(LAST_BEATS):
            self.play.world.run(self.play.world.now + 2.0)
            for worker in self.workers:
                self.play.say(worker.beat)
        self.play.world.run(self.play.world.now + 5.0)

    def judge(self) -> None:
        """Compare what the audit finds with what is not there. Raises Broken."""
        auditor = Auditor()
        told = 0
        for number, record in enumerate(self.stream.records):
            auditor.add(record)
            if number % A_LOOK == 0:
                told = max(told, sum(auditor.report(record.stored or 0, settle=SETTLE).missing_starts.values()))
        if told > (gone := sum(map(self._gone, self.workers))):
            raise Broken(f"account: {gone} starts are gone, and the audit has found {told} on the way")
        now = round((EPOCH + self.play.world.now) * SECOND)
        report = auditor.report(now, settle=SECOND)
        copies = sum(self.stream.counts.values()) - len(self.stream.counts)
        if (report.duplicates, report.undecodable) != (copies, 0):
            raise Broken(f"account: {report.duplicates} copies by the audit, and {copies} are there")
        for worker in self.workers:
            self._judge_starts(worker, report)
        self._judge_tasks(report)

    def _judge_starts(self, worker: AccountingWorker, report: Report) -> None:
        gone = self._gone(worker)
        found = report.missing_starts.get(worker.name, 0)
        # Of one whose beginning is not there it is known only what went missing since.
        if found > gone or (found < gone and self._is_anchored(worker)):
            raise Broken(f"account: {gone} starts of {worker.name} are gone, and the audit finds {found}")

    def _gone(self, worker: AccountingWorker) -> int:
        return sum(kind == "task-started" for one, (kind, _) in worker.said.items() if not self.is_stored(one))

    def _is_anchored(self, worker: AccountingWorker) -> bool:
        return any(kind == "worker-online" and self.is_stored(one) for one, (kind, _) in worker.said.items())

    def _judge_tasks(self, report: Report) -> None:
        starts = received = 0
        unended = Counter[str]()
        for worker in self.workers:
            there: dict[str, set[str]] = {}
            for one, (kind, uuid) in worker.said.items():
                if uuid is not None and self.is_stored(one):
                    there.setdefault(uuid, set()).add(kind)
            for uuid, kinds in there.items():
                if kinds & {"task-succeeded", "task-failed"}:
                    starts += "task-started" not in kinds
                    received += "task-received" not in kinds
                elif "task-started" in kinds:
                    unended[uuid] += 1
        found = (report.starts.events, report.received.events, report.before.events)
        whole = all(self._is_anchored(worker) for worker in self.workers)
        if sum(found) != starts + received or (whole and found != (starts, received, 0)):
            raise Broken(f"account: {starts} starts, {received} receptions are gone of tasks that are over; {found}")
        ended = {one.uuid for one in report.open if one.state == "ended"}
        if ended != set(unended):
            raise Broken(f"account: the ends of {len(unended)} tasks are gone, and the audit finds {len(ended)}")
