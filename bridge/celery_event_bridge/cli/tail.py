"""`tail`: events from the stream, a line each, for people or for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from celery_event_bridge.cli.lines import Asked, Lines
from celery_event_bridge.cli.moments import as_since, moment_of, refuse_backwards
from celery_event_bridge.cli.options import OPTIONS, SettingsCommand, loaded, naming
from celery_event_bridge.cli.output import standard_output
from celery_event_bridge.cli.printer import Printer
from celery_event_bridge.contract.values import counted
from celery_event_bridge.forward.intake import patterns_in
from celery_event_bridge.observe import logs
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reader import Events, open_reader
from celery_event_bridge.reading.gone import in_all
from celery_event_bridge.reading.picked import broker_filter

PATIENCE = 10.0
"""Seconds that a stream may be away before a look at it fails. With `--follow` it is waited for."""
FIRST_LOOK, LOOKS_GROW = 1000, 8
"""Records from the end of each partition to look through for the newest that match, and the factor by which to look
further back. The names of their tasks are among them, most times."""
_NAMELESS = "{} left out by --task, for want of the task's name: it stands in task-received or task-sent, which {}"


@click.command(
    cls=SettingsCommand,
    epilog="Example: celery-event-bridge tail --follow --type 'task-*' --from redis://localhost:6379/0",
)
@click.option("--newest", "-n", "count", type=click.IntRange(min=1), metavar="N", help="the last N that match")
@click.option("--follow", "-f", is_flag=True, help="wait for more, from now on unless -n or --since say otherwise")
@click.option("--since", metavar="AGE|TIME", help="stored since: 10m, 1h30m, 14:00, yesterday, 2030-01-31T12:00:00Z")
@click.option("--until", metavar="AGE|TIME", help="stored before, in the same ways")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="task-*,!task-received; may be repeated")
@click.option("--task", "name", metavar="NAME", help="only events of tasks of this name, or pattern: billing.*")
@click.option("--uuid", help="only events of this task; its beginning is enough")
@click.option("--worker", "workers", multiple=True, metavar="PATTERN", help="only from these: billing@*,!test@*")
@click.option("--broker", "brokers", multiple=True, metavar="PATTERN", help="only of brokers of this name: eu,us-*")
@click.option("--reverse", is_flag=True, help="the newest first; all that is printed is held in memory until the end")
@click.option(
    "--format",
    "form",
    type=click.Choice(["line", "full", "json"]),
    default="line",
    help="line, full (with args, result, traceback) or json",
)
@click.option("--from", "url", metavar="URL", help="kafka://host:9092/topic, redis://host:6379/0, a SQLite file")
@click.pass_context
def tail(ctx: click.Context, /, **given: Any) -> int:
    """Print events from the stream that the settings select, or the one of --from, and keep no position.

    Without --follow it prints what is there, from --since on or all, and ends. A line has the event's time, its type,
    the task's name and uuid, the worker, and the run time or the error. A task's name is in its task-received or
    task-sent, which is looked up in a SQLite file, and else has to be read before. A time without a zone is this
    machine's, as in what is printed. Exits 1 if events were gone from the stream before it came to them.
    """
    output = standard_output()
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, chosen.settings.log_level)
    since, until = (moment_of(ctx, each, given[each]) for each in ("since", "until"))
    _refuse(ctx, given, since, until)
    asked = Asked(
        patterns_in(given["types"]),
        given["name"],
        given["uuid"],
        patterns_in(given["workers"]),
        patterns_in(given["brokers"]),
        until if isinstance(until, int) else None,
    )
    lines = Lines(asked, given["form"])
    if given["follow"]:
        _complain(lines.unmatched())  # there may be no end to say it at
    printer = Printer(output, lines, reverse=given["reverse"], count=given["count"])
    with naming("--from", given["url"]):
        read = _all(ctx, given, since, printer) if since or not given["count"] else _newest(ctx, given, printer)
    printer.end()
    if lines.nameless:
        # With several replicas a task's first event may be stored behind later ones.
        count = f"{counted(lines.nameless, 'event')} {'is' if lines.nameless == 1 else 'are'}"
        where = "may be older: begin earlier, with --since" if since or given["count"] else "come later, or not at all"
        _complain([_NAMELESS.format(count, where)])
    if not printer.matched and not asked.is_all:
        _complain(
            [
                *([] if given["follow"] else lines.unmatched()),
                f"0 of {counted(read, 'event')} matched",
                *_of_workers(asked),
            ]
        )
    elif not given["follow"] and (sys.stderr.isatty() or not read):
        _complain([f"end of the stream, {counted(read, 'event')} read, {printer.printed} printed"])
    if printer.gone and not given["follow"]:
        _complain([in_all(printer.gone)])
        return 1
    return 0


def _of_workers(asked: Asked) -> Sequence[str]:
    """Return a hint for each pattern that can match no worker's whole name: that has its host in it."""
    bare = [one for one in asked.workers if not set("@*?[") & set(one)]
    return [f"--worker {one}: a worker's name is name@host: did you mean '{one}@*'?" for one in bare]


def _all(ctx: click.Context, given: Mapping[str, Any], since: str | int | None, printer: Printer) -> int:
    """Read from that moment on; by default all, or with `--follow` what comes from now on."""
    begin = since or ("latest" if given["follow"] else "earliest")
    with _open(ctx, given, since=as_since(begin)) as events, stopping(events.stop):
        return printer.read(events, follow=given["follow"])


def _newest(ctx: click.Context, given: Mapping[str, Any], printer: Printer) -> int:
    """Read the end of the stream, and more of it while too few match, or while that brings newer ones: a partition may
    go back further in time than another one with as many records. With `--follow` read what comes then as well.
    """
    count: int = given["count"]
    size, found = max(count, FIRST_LOOK), None
    while True:
        with _open(ctx, {**given, "follow": False}, newest=size) as events, stopping(events.stop):
            printer.forget()
            read, last = printer.read(events), found
            found = printer.kept()
            # The whole stream has fewer, also where new ones come all the time, and where duplicates were dropped.
            is_all = read < size // 2
            enough = is_all or (printer.matched >= count and found == last)
            if events.stopped or (enough and not given["follow"]):
                return read
        if enough:
            break
        size *= LOOKS_GROW
    printer.forget()
    with _open(ctx, given, newest=size) as events, stopping(events.stop):
        return printer.read(events, follow=True)


def _open(ctx: click.Context, given: Mapping[str, Any], **begin: Any) -> Events:
    follow: bool = given["follow"]
    events = open_reader(
        given["url"],
        follow=follow,
        give_up_after=None if follow else PATIENCE,
        options=ctx.meta.get(OPTIONS, {}),
        **begin,
    )
    if brokers := patterns_in(given["brokers"]):
        events.seen.among = broker_filter(brokers)
    return events


def _refuse(ctx: click.Context, given: Mapping[str, Any], since: str | int | None, until: str | int | None) -> None:
    if isinstance(until, str):
        raise click.UsageError(f"--until {until}: expected an age such as 10m, or a time", ctx)
    refuse_backwards(ctx, (given["since"], given["until"]), since, until)
    for option in ("reverse", "until"):
        if given["follow"] and given[option]:
            raise click.UsageError(f"--{option}: not together with --follow", ctx)


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"celery-event-bridge: {line}", err=True)
