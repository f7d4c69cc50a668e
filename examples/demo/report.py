"""What came of it: the comparison of witness and stream, as a table and as an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.demo.streams import Stored
from tests.support import oracle

LEAST_EVENTS = 3000
LEAST_PAUSE = 8.0
"""Seconds."""


@dataclass
class Report:
    """The figures of one demo."""

    sink: str
    once: bool
    """Whether the stream drops an event that is stored again."""
    queued: bool = True
    """Whether the broker keeps what no bridge has taken; else one bridge forwards, and the others stand by."""
    published: Counter[bytes] = field(default_factory=Counter)
    stored: list[Stored] = field(default_factory=list)
    expired: int = 0
    """Messages that came through overflow, as counted by the bridges that lived: what the killed one had of them went
    back, and they have counted it."""
    overflow_depth: int = 0
    """The most that RabbitMQ showed waiting in the overflow queue; its figure is up to five seconds old."""
    in_turn: int = 0
    """Bridges that have forwarded, one after the other, where the broker has no queue."""
    forwarded: int = 0
    """Events confirmed, by the bridges' own count; a killed one's last seconds are not in it."""
    killed: bool = False
    paused_seconds: float = 0.0
    not_paused: str = ""
    """Why the sink could not be made to stand still, if so."""
    unclean: list[str] = field(default_factory=list)
    """Bridges that did not stop as they should."""
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def bytes_stored(self) -> Counter[bytes]:
        """What is in the stream, and how often."""
        return Counter(event.data for event in self.stored)

    @property
    def missing(self) -> Counter[bytes]:
        """Published and not stored; two events of the same bytes are one, where the stream keeps one of each."""
        expected = Counter(set(self.published)) if self.once else self.published
        return expected - self.bytes_stored

    @property
    def faults(self) -> list[str]:
        """Why the demo has failed."""
        missing = self.missing.total()
        unknown = self.bytes_stored.keys() - self.published.keys()
        wrong = sum(event.id != oracle.event_id(event.data) for event in self.stored)
        return [
            text
            for failed, text in (
                (missing, f"{missing} events are missing"),
                (unknown, f"{len(unknown)} stored events were never published"),
                (wrong, f"{wrong} stored events have another id than their bytes give"),
                (not self.published, "no event was published"),
                (self.unclean, "; ".join(self.unclean)),
            )
            if failed
        ]

    @property
    def notes(self) -> list[str]:
        """What a slow machine has left out, so that the demo proves less than it could."""
        paused = f"the sink stood still for {self.paused_seconds:.0f} s, which is less than {LEAST_PAUSE:.0f} s"
        return [
            text
            for left_out, text in (
                (self.not_paused, f"the sink could not be paused: {self.not_paused}"),
                (not self.not_paused and self.paused_seconds < LEAST_PAUSE, paused),
                (not self.killed, "no bridge was killed"),
                (self.queued and not self.expired, "nothing came through overflow"),
                (not self.queued and self.in_turn < 2, "no bridge took over from another"),
                (self.published.total() < LEAST_EVENTS, f"fewer than {LEAST_EVENTS} events were published"),
            )
            if left_out
        ]

    def show(self, console: Console, logs: Path) -> int:
        """Print the table and the last line; returns the exit code."""
        stored, missing = len(self.stored), self.missing.total()
        sent_again = self.forwarded - stored if self.once else (self.bytes_stored - self.published).total()
        duplicates = f"{max(0, sent_again)} (dropped by the unique id)" if self.once else str(sent_again)
        table = Table("", self.sink)
        for name, value in (
            ("events published (witness)", str(self.published.total())),
            ("events stored", str(stored)),
            ("missing", str(missing)),
            ("duplicates on the wire", duplicates),
            ("distinct ids", str(len({event.id for event in self.stored}))),
            *self._of_the_broker(),
        ):
            table.add_row(name, value)
        table.add_section()
        for step, seconds in self.steps.items():
            table.add_row(step, f"{seconds:.1f} s")
        console.print(table)
        if notes := self.notes:
            console.print(
                f"[yellow]this machine is too slow or busy to show all of it:[/yellow] {escape('; '.join(notes))}"
            )
        faults = self.faults
        for fault in faults:
            console.print(f"[red]failed:[/red] {escape(fault)}", soft_wrap=True)
        if faults:
            console.print(f"logs and data: {logs}", highlight=False, soft_wrap=True)
        console.print(f"missing {missing}")
        return 1 if faults else 0

    def _of_the_broker(self) -> Iterator[tuple[str, str]]:
        """Yield what the broker, or the bridges in its place, have held back."""
        if self.queued:
            yield "messages through overflow", str(self.expired)
            yield "waiting in overflow at most", str(self.overflow_depth)
        else:
            yield "bridges that forwarded in turn", str(self.in_turn)
