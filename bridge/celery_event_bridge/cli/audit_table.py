"""An audit's report as tables, for people."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from celery_event_bridge.audit.account import Stretch
from celery_event_bridge.audit.delays import PERCENTILES
from celery_event_bridge.audit.report import Report
from celery_event_bridge.audit.verdicts import Heading, Open
from celery_event_bridge.cli import fitted
from celery_event_bridge.cli.fitted import Column
from celery_event_bridge.cli.legible import legible

SHOWN = 20
"""Rows of a heading at most; the JSON has more."""
STATES = {
    "waiting": "received, not started",
    "running": "started",
    "gone": "its worker's process is gone",
    "ended": "its worker runs nothing: its end is missing",
}
WIDTH = 80
"""Columns where the output is no terminal, and COLUMNS does not say otherwise."""
NARROWEST = 40
"""Columns that are used at least."""


def show(report: Report, output: TextIO, *, hint: str = "") -> None:
    """Write it, with a `hint` behind the verdict. Raises BrokenPipeError where nobody reads."""
    console = Console(file=output, highlight=False, markup=False)
    page = _Page(console, _width(console, output))
    with console.capture() as captured:  # written at once, and not by rich, which ends the process if nobody reads
        _show(page, report, hint)
    output.write(captured.get())


def _width(console: Console, output: TextIO) -> int:
    told = os.environ.get("COLUMNS", "")
    known = output.isatty() or (told.isdecimal() and int(told) > 0)
    return max(NARROWEST, console.width if known else WIDTH)


class _Page:
    """Lines of a report. None of them breaks a word."""

    def __init__(self, console: Console, width: int) -> None:
        self._console = console
        self.width = width

    def line(self, text: str, style: str = "") -> None:
        """Write a line as it is."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def title(self, title: str, count: int, *, alarm: bool = True) -> None:
        """Write a heading and its number, which alarms if it is not 0."""
        self.line(f"\n{title}: {count:,}", style="red" if count and alarm else "")

    def say(self, text: str, style: str = "") -> None:
        """Write a sentence, indented."""
        for each in fitted.wrapped(text, self.width, "  "):
            self.line(each, style)

    def parts(self, parts: Sequence[str]) -> None:
        """Write parts of a sentence, each of them whole."""
        for each in fitted.packed(parts, self.width):
            self.line(each)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Write a table of rows, the first of them if there are too many."""
        self.line("")
        for each in fitted.table(columns, rows[:SHOWN], self.width):
            self.line(each)
        self.more(len(rows))

    def more(self, count: int) -> None:
        """Say how many rows are not shown of so many."""
        if count > SHOWN:
            self.line(f"  and {count - SHOWN:,} more")


def _show(page: _Page, report: Report, hint: str) -> None:
    begin = "the beginning" if report.since is None else _at(report.since)
    until, horizon = _at(report.until), _at(report.horizon)
    page.parts([f"{report.events:,} events", f"from {begin}", f"to {until},", f"judged up to {horizon}"])
    _events(page, report)
    _missing(page, report)
    _open(page, report)
    _rest(page, report)
    verdict = report.empty or ("something is missing" if report.missing else "nothing is missing")
    style = "bold red" if report.missing else "bold yellow" if report.empty else "bold green"
    page.line("")
    for line in fitted.wrapped(f"{verdict}{hint}", page.width):
        page.line(line, style)


def _events(page: _Page, report: Report) -> None:
    types, workers = sorted(report.types()), sorted(report.workers())
    columns = [Column("worker")]
    columns += [Column(legible(kind).replace("-", "-\n", 1), right=True) for kind in types]
    columns.append(Column("all", right=True))
    rows = []
    for worker in workers[: SHOWN + 1]:
        counts = [report.counts.get((worker, kind), 0) for kind in types]
        rows.append([legible(worker), *(f"{count:,}" if count else "" for count in counts), f"{sum(counts):,}"])
    if len(workers) <= SHOWN and fitted.fits(columns, rows, page.width):
        page.table(columns, rows)
        return
    _counts(page, "type", report.types())
    _counts(page, "worker", report.workers())


def _counts(page: _Page, what: str, counts: dict[str, int]) -> None:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    page.table([Column("events", right=True), Column(what)], [(f"{count:,}", legible(name)) for name, count in ordered])


def _missing(page: _Page, report: Report) -> None:
    if report.skipped:
        page.title("Gone from the stream before they were read", report.skipped)
    total = sum(report.missing_starts.values())
    page.title("Missing by the workers' own account (task-started)", total)
    if total:
        columns = [Column("worker"), Column("pid", right=True), Column("missing", right=True)]
        page.table(
            [*columns, Column("between"), Column("and")],
            [(legible(one.worker), str(one.pid), f"{one.missing:,}", *_between(one)) for one in report.stretches],
        )
    for worker, pids in report.silent.items():
        who = f"{legible(worker)}, pid {', '.join(map(str, pids))},"
        page.say(f"{who} has sent no event of a task: are they switched on (celery worker -E)?")
    for worker in report.unaccounted:
        page.say(f"{legible(worker)} gives no account: it sends no heartbeats")
    _heading(page, "Tasks whose task-started is missing", report.starts)
    _heading(page, "Tasks whose task-received is missing", report.received)
    _heading(page, "Tasks of which an end is missing", report.ends)
    _heading(page, "Perhaps missing, perhaps from before the period", report.before, alarm=False)
    _heading(page, "Tasks without a name", report.names, alarm=False)


def _heading(page: _Page, title: str, heading: Heading, *, alarm: bool = True) -> None:
    if not heading.count and not alarm:
        return
    page.title(title, heading.events, alarm=alarm)
    if heading.count:
        columns = [Column("uuid"), Column("at"), Column("task"), Column("worker")]
        shown = heading.tasks[:SHOWN]
        page.table(
            columns,
            [(legible(one.uuid), _at(one.time), legible(one.name or "-"), legible(one.worker)) for one in shown],
        )
        page.more(heading.count)


def _open(page: _Page, report: Report) -> None:
    certain = sum(one.certainly_ended for one in report.open)
    page.title("Tasks without an end", len(report.open), alarm=certain > 0)
    if report.open:
        columns = [Column("uuid"), Column("for", right=True), Column("task"), Column("worker"), Column("state")]
        # What is certain to be missing first, then the oldest.
        shown = sorted(report.open, key=lambda one: (not one.certainly_ended, one.since))[:SHOWN]
        page.table(columns, [_open_row(one, report.until) for one in shown])
        page.more(len(report.open))
    for excess in report.excess:
        page.say(
            f"{legible(excess.worker)} (pid {excess.pid}) runs {excess.active} of {excess.without_end} tasks without "
            f"an end: {excess.without_end - excess.active} ends are missing"
        )
    if report.waiting_to_be_received:
        page.say(f"{report.waiting_to_be_received:,} more were sent and not received yet")
    if report.asked:
        page.say(f"asked: {legible(report.asked)}")
    if report.given_up:
        page.say(f"{report.given_up:,} more were too many to be remembered")


def _open_row(one: Open, until: int) -> tuple[str, ...]:
    length = _length(until - one.since)
    return legible(one.uuid), length, legible(one.name or "-"), legible(one.worker), _state(one)


def _rest(page: _Page, report: Report) -> None:
    page.title("Duplicates", report.duplicates, alarm=False)
    inverted = sum(one.events for one in report.inversions.values())
    page.title("Out of order", inverted, alarm=False)
    for worker, one in sorted(report.inversions.items(), key=lambda pair: -pair[1].events)[:SHOWN]:
        page.say(f"{legible(worker)}: {one.events:,}, by up to {one.seconds:.3f} s")
    page.title("Undecodable", report.undecodable, alarm=False)
    for line in report.problems[:5]:
        page.say(legible(line))
    delays = report.delays
    if delays.count:
        parts = [f"p{percent:g} {_seconds(delays.percentile(percent))}," for percent in PERCENTILES]
        page.line("")
        page.parts(["Delay from event to storage:", *parts, f"longest {_seconds(delays.longest / 1e6)}"])
    if delays.ahead:
        page.say(f"{delays.ahead:,} were stored before their time: a clock is wrong")


def _state(one: Open) -> str:
    return STATES[one.state] if one.live is None else f"{STATES[one.state]}; {legible(one.live)}"


def _between(one: Stretch) -> tuple[str, str]:
    return _at(one.start), _at(one.end)


def _at(microseconds: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(microseconds / 1e6).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "-"


def _length(microseconds: int) -> str:
    seconds = max(0, microseconds) // 1_000_000
    return str(datetime.timedelta(seconds=seconds))


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"
