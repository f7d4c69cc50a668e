"""An audit's report as tables, for people."""

from __future__ import annotations

import datetime
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from celery_event_bridge.audit.account import Stretch
from celery_event_bridge.audit.delays import PERCENTILES
from celery_event_bridge.audit.report import Report
from celery_event_bridge.audit.verdicts import Heading, Open
from celery_event_bridge.cli.legible import legible

SHOWN = 20
"""Rows of a heading at most; the JSON has more."""
STATES = {
    "waiting": "received, not started",
    "running": "started",
    "gone": "its worker's process is gone",
    "ended": "its worker runs nothing: its end is missing",
}
WIDTH = 120
"""Columns where the output is no terminal."""


def show(report: Report, output: TextIO) -> None:
    """Write it. Raises BrokenPipeError where nobody reads."""
    console = Console(file=output, highlight=False, markup=False, width=None if output.isatty() else WIDTH)
    with console.capture() as captured:  # written at once, and not by rich, which ends the process if nobody reads
        _show(console, report)
    output.write(captured.get())


def _show(console: Console, report: Report) -> None:
    begin = "the beginning" if report.since is None else _at(report.since)
    console.print(f"{report.events:,} events from {begin} to {_at(report.until)}, judged up to {_at(report.horizon)}")
    _events(console, report)
    _missing(console, report)
    _open(console, report)
    _rest(console, report)
    verdict = report.empty or ("something is missing" if report.missing else "nothing is missing")
    style = "bold red" if report.missing else "bold yellow" if report.empty else "bold green"
    console.print(Text(f"\n{verdict}", style=style))


def _events(console: Console, report: Report) -> None:
    types, workers = sorted(report.types()), sorted(report.workers())
    if len(types) > 8 or len(workers) > SHOWN:
        _counts(console, "type", report.types())
        _counts(console, "worker", report.workers())
        return
    table = _table("worker", *types, "all")
    for worker in workers:
        row = [report.counts.get((worker, kind), 0) for kind in types]
        table.add_row(legible(worker), *(f"{count:,}" if count else "" for count in row), f"{sum(row):,}")
    console.print(table)


def _counts(console: Console, what: str, counts: dict[str, int]) -> None:
    table = _table(what, "events")
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]:
        table.add_row(legible(name), f"{count:,}")
    console.print(table)
    _more(console, len(counts))


def _missing(console: Console, report: Report) -> None:
    if report.skipped:
        _title(console, "Gone from the stream before they were read", report.skipped)
    total = sum(report.missing_starts.values())
    _title(console, "Missing by the workers' own account (task-started)", total)
    if total:
        table = _table("worker", "pid", "missing", "between", "and")
        for one in report.stretches[:SHOWN]:
            table.add_row(legible(one.worker), str(one.pid), f"{one.missing:,}", *_between(one))
        console.print(table)
        _more(console, len(report.stretches))
    for worker in report.silent:
        console.print(f"  {legible(worker)} has sent no event of a task: are they switched on (celery worker -E)?")
    for worker in report.unaccounted:
        console.print(f"  {legible(worker)} gives no account: it sends no heartbeats")
    _heading(console, "Tasks whose task-started is missing", report.starts)
    _heading(console, "Tasks whose task-received is missing", report.received)
    _heading(console, "Tasks of which an end is missing", report.ends)
    _heading(console, "Perhaps missing, perhaps from before the period", report.before, alarm=False)
    _heading(console, "Tasks without a name", report.names, alarm=False)


def _heading(console: Console, title: str, heading: Heading, *, alarm: bool = True) -> None:
    if not heading.count and not alarm:
        return
    _title(console, title, heading.events, alarm=alarm)
    if heading.count:
        table = _table("uuid", "task", "worker", "at")
        for one in heading.tasks[:SHOWN]:
            table.add_row(legible(one.uuid), legible(one.name or "-"), legible(one.worker), _at(one.time))
        console.print(table)
        _more(console, heading.count)


def _open(console: Console, report: Report) -> None:
    certain = sum(one.certainly_ended for one in report.open)
    _title(console, "Tasks without an end", len(report.open), alarm=certain > 0)
    if report.open:
        table = _table("uuid", "task", "worker", "for", "state")
        # What is certain to be missing first, then the oldest.
        for one in sorted(report.open, key=lambda one: (not one.certainly_ended, one.since))[:SHOWN]:
            length = _length(report.until - one.since)
            table.add_row(legible(one.uuid), legible(one.name or "-"), legible(one.worker), length, _state(one))
        console.print(table)
        _more(console, len(report.open))
    for excess in report.excess:
        console.print(
            f"  {legible(excess.worker)} (pid {excess.pid}) runs {excess.active} of {excess.without_end} tasks without "
            f"an end: {excess.without_end - excess.active} ends are missing"
        )
    if report.waiting_to_be_received:
        console.print(f"  {report.waiting_to_be_received:,} more were sent and not received yet")
    if report.asked:
        console.print(f"  asked: {legible(report.asked)}")
    if report.given_up:
        console.print(f"  {report.given_up:,} more were too many to be remembered")


def _rest(console: Console, report: Report) -> None:
    _title(console, "Duplicates", report.duplicates, alarm=False)
    inverted = sum(one.events for one in report.inversions.values())
    _title(console, "Out of order", inverted, alarm=False)
    for worker, one in sorted(report.inversions.items(), key=lambda pair: -pair[1].events)[:SHOWN]:
        console.print(f"  {legible(worker)}: {one.events:,}, by up to {one.seconds:.3f} s")
    _title(console, "Undecodable", report.undecodable, alarm=False)
    for line in report.problems[:5]:
        console.print(f"  {legible(line)}")
    delays = report.delays
    if delays.count:
        parts = [f"p{percent:g} {_seconds(delays.percentile(percent))}" for percent in PERCENTILES]
        console.print(f"\nDelay from event to storage: {', '.join(parts)}, longest {_seconds(delays.longest / 1e6)}")
    if delays.ahead:
        console.print(f"  {delays.ahead:,} were stored before their time: a clock is wrong")


def _title(console: Console, title: str, count: int, *, alarm: bool = True) -> None:
    console.print(Text(f"\n{title}: {count:,}", style="red" if count and alarm else ""))


def _more(console: Console, count: int) -> None:
    if count > SHOWN:
        console.print(f"  and {count - SHOWN:,} more")


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        right = name in {"events", "missing", "all", "for"} or "-" in name
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


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
