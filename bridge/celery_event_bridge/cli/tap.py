"""`tap`: the live events as they are published, a line each, and nothing taken away from the bridge."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import click

from celery_event_bridge.cli.lines import Asked, Lines
from celery_event_bridge.cli.options import SettingsCommand, loaded, unable
from celery_event_bridge.cli.output import discard, standard_output
from celery_event_bridge.cli.printer import BLOCK, Printer
from celery_event_bridge.contract import Record
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.contract.broker_plugin import LiveEvents, Tappable
from celery_event_bridge.forward.intake import Intake, patterns_in
from celery_event_bridge.observe import logs
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reading.event import Clock, StoredEvent

WAIT = 0.5
"""Seconds that one look waits, and so the time within which a signal is noticed."""


@click.command(cls=SettingsCommand, epilog="Example: celery-event-bridge tap --type 'task-*' -n 10")
@click.option("--count", "-n", type=click.IntRange(min=1), metavar="N", help="end after so many that match")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="task-*,!task-received; may be repeated")
@click.option("--task", "name", metavar="NAME", help="only events of tasks of this name, or pattern: billing.*")
@click.option("--uuid", help="only events of this task; its beginning is enough")
@click.option("--worker", "workers", multiple=True, metavar="PATTERN", help="only from these: billing@*,!test@*")
@click.option("--format", "form", type=click.Choice(["line", "full", "json"]), default="line", help="as tail has them")
@click.pass_context
def tap(ctx: click.Context, /, **given: Any) -> int:
    """Print the events that Celery publishes now, until stopped, and take none of them away.

    They come by a temporary queue of its own, on Redis by a subscription, which is gone with it; the bridge need not
    run. Of what was published before it shows nothing: `tail` reads that from the stream.
    """
    output = standard_output()
    chosen = loaded(ctx)
    settings = chosen.settings
    logs.configure(settings.log_format, settings.log_level)
    asked = Asked(patterns_in(given["types"]), given["name"], given["uuid"], patterns_in(given["workers"]))
    broker = chosen.make_broker()
    if not isinstance(broker, Tappable):
        raise unable(chosen, "no live events can be looked at beside the bridge: `tail` reads the stream")
    lines = Lines(asked, given["form"])
    for line in lines.unmatched():
        click.echo(f"celery-event-bridge: {line}", err=True)
    printer = Printer(output, lines, reverse=False, count=None)
    ended = threading.Event()
    intake = Intake(("*",), settings.max_message_bytes, settings.broker_name)
    try:
        with closing(broker.tap()) as live, stopping(ended.set):
            if sys.stderr.isatty():
                click.echo("celery-event-bridge: looking at the live events; Ctrl-C ends it", err=True)
            _print(live, intake, printer, given["count"], ended)
    except BrokenPipeError:
        discard(output)
    return 0


def _print(live: LiveEvents, intake: Intake, printer: Printer, count: int | None, ended: threading.Event) -> None:
    """Print until told to end, until so many are printed, or nobody reads them. Raises BrokerUnavailable."""
    clock, number = Clock(), 0
    while not ended.is_set():
        messages = live.messages(WAIT)
        for position, message in enumerate(messages, 1):
            for event in _events(message, intake, clock, number):
                number += 1
                printer.take(event)
                if count is not None and printer.printed >= count:
                    printer.flush()
                    return
            if position % BLOCK == 0:
                printer.flush()
        printer.flush(ended.set)


def _events(message: Message, intake: Intake, clock: Clock, number: int) -> Iterator[StoredEvent]:
    """Yield what a bridge would store of it; what it would park is said."""
    taken = intake.take(message)
    now = time.time_ns() // 1000
    for event in taken.events:
        record = Record(
            "tap",
            number,
            event.id,
            event.type,
            event.source,
            event.subject,
            event.time,
            event.data,
            event.content_type,
            stored=now,
            broker=event.broker,
        )
        yield StoredEvent(record, number, clock)
    if taken.rejection:
        reason = f"{taken.rejection.reason}: {taken.rejection.error}"
        click.echo(f"celery-event-bridge: a message that a bridge parks: {reason}", err=True)
