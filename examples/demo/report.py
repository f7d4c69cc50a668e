"""What came of it: the comparison of witness and stream, as a table and as an exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

LEAST_EVENTS = 3000


@dataclass
class Report:
    """The figures of one demo."""

    sink: str
    once: bool
    """Whether the stream drops an event that is stored again."""
    published: Counter[bytes] = field(default_factory=Counter)
    stored: Counter[bytes] = field(default_factory=Counter)
    expired: int = 0
    """Messages that came through overflow, by the bridges' own count."""
    forwarded: int = 0
    """Events confirmed, by the bridges' own count; a killed one's last seconds are not in it."""
    killed: bool = False
    paused_seconds: float = 0.0
    unclean: list[str] = field(default_factory=list)
    """Bridges that did not stop as they should."""
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def missing(self) -> Counter[bytes]:
        """Published and not stored; two events of the same bytes are one, where the stream keeps one of each."""
        expected = Counter(set(self.published)) if self.once else self.published
        return expected - self.stored

    @property
    def faults(self) -> list[str]:
        """Why the demo has failed, or has proved nothing."""
        unknown = self.stored.keys() - self.published.keys()
        return [
            text
            for wrong, text in (
                (self.missing, f"{self.missing.total()} events are missing"),
                (unknown, f"{len(unknown)} stored events were never published"),
                (self.published.total() < LEAST_EVENTS, f"fewer than {LEAST_EVENTS} events were published"),
                (not self.killed, "no bridge was killed"),
                (self.paused_seconds < 8, "the sink was not paused for 8 s"),
                (not self.expired, "nothing came through overflow"),
                (self.unclean, "; ".join(self.unclean)),
            )
            if wrong
        ]

    def show(self, console: Console) -> int:
        """Print the table and the last line; returns the exit code."""
        distinct = len(self.stored)
        again = self.stored.total() - distinct
        duplicates = f"{max(0, self.forwarded - self.stored.total())} (dropped by the unique id)" if self.once else str(again)
        table = Table("", self.sink, title="What was published, and what is in the stream", title_justify="left")
        for name, value in (
            ("events published (witness)", str(self.published.total())),
            ("events stored", str(self.stored.total())),
            ("missing", str(self.missing.total())),
            ("duplicates on the wire", duplicates),
            ("distinct ids", str(distinct)),
            ("messages through overflow", str(self.expired)),
        ):
            table.add_row(name, value)
        table.add_section()
        for step, seconds in self.steps.items():
            table.add_row(step, f"{seconds:.1f} s")
        console.print(table)
        faults = self.faults
        for fault in faults:
            console.print(f"[red]failed:[/red] {fault}")
        console.print(f"missing {self.missing.total()}")
        return 1 if faults else 0
