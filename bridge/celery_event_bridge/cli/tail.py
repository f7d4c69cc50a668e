"""`tail`: events from the stream, a line each, for people or for a pipe."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import TextIO

import click

from celery_event_bridge.cli.lines import Lines
from celery_event_bridge.cli.options import OPTIONS, SettingsCommand, loaded, naming
from celery_event_bridge.cli.output import discard, standard_output
from celery_event_bridge.forward.intake import patterns_in
from celery_event_bridge.observe import logs
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reader import Events, open_reader

PATIENCE = 10.0
"""Seconds that a stream may be away before a look at it fails. With `--follow` it is waited for."""


@click.command(
    cls=SettingsCommand,
    epilog="Example: celery-event-bridge tail --follow --type 'task-*' --from redis://localhost:6379/0",
)
@click.option("--follow", "-f", is_flag=True, help="wait for more, from now on unless --since says otherwise")
@click.option("--since", metavar="AGE|TIME", help="10m, 2d, 2030-01-31T12:00:00Z, earliest or latest")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="task-*,!task-received; may be repeated")
@click.option("--task", "name", metavar="NAME", help="only events of tasks of this name, or pattern: billing.*")
@click.option("--uuid", help="only events of this task; its beginning is enough")
@click.option("--format", "form", type=click.Choice(["line", "json"]), default="line", help="line or json")
@click.option("--from", "url", metavar="URL", help="kafka://host:9092/topic, redis://host:6379/0, sqlite:///events.db")
@click.pass_context
def tail(
    ctx: click.Context,
    *,
    follow: bool,
    since: str | None,
    types: tuple[str, ...],
    name: str | None,
    uuid: str | None,
    form: str,
    url: str | None,
) -> int:
    """Print events from the stream that the settings select, or the one of --from, and keep no position.

    Without --follow it prints what is there, from --since on or all, and ends. A line has the event's time, its type,
    the task's name and uuid, the worker, and the run time or the error; --format json has one object a line. A task's
    name is known once its task-received or task-sent has been read.
    """
    output = standard_output()
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, chosen.settings.log_level)
    try:
        with naming("--from", url):
            events = open_reader(
                url,
                since=since or ("latest" if follow else "earliest"),
                follow=follow,
                give_up_after=None if follow else PATIENCE,
                options=ctx.meta.get(OPTIONS, {}),
            )
    except ValueError as exc:
        raise click.UsageError(f"--{exc}", ctx) from exc
    lines = Lines(patterns_in(types), name, uuid, as_json=form == "json")
    if follow:
        _complain(lines.unmatched())  # there may be no end to say it at
    with naming("--from", url), events, stopping(events.stop):
        read, matched = _print(events, lines, output)
    if not matched and (types or name or uuid):
        _complain([*([] if follow else lines.unmatched()), f"0 of {read} events matched"])
    return 0


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"celery-event-bridge: {line}", err=True)


def _print(events: Events, lines: Lines, output: TextIO) -> tuple[int, int]:
    """Write until the end, a signal, or until nobody reads it any more; returns how many were read, and written."""
    # Whole blocks into a pipe while there is more at once, and each event at once where there is not.
    waiting: list[str] = []

    def flush() -> None:
        text = "".join(waiting)
        waiting.clear()
        if text:
            output.write(text)
            output.flush()
        elif _nobody_reads(output.fileno()):
            events.stop()

    events.idle = flush
    colour = output.isatty()
    read = matched = 0
    try:
        for event in events:
            read += 1
            line = lines.line(event, colour=colour)
            if line is not None:
                matched += 1
                waiting.append(line + "\n")
            if len(waiting) >= 200 or events.in_hand == 0:
                flush()
        flush()
    except BrokenPipeError:
        discard(output)
    return read, matched


def _nobody_reads(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))
