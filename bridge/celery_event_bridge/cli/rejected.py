"""`rejected`: list, show, requeue and purge what was parked."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from celery_event_bridge.cli.legible import legible
from celery_event_bridge.cli.options import SettingsCommand, loaded, unable
from celery_event_bridge.cli.output import standard_output
from celery_event_bridge.contract import REASONS
from celery_event_bridge.contract.broker_plugin import Content, HasParked, Parked, ParkedMessages
from celery_event_bridge.contract.secrets import hide_in_value
from celery_event_bridge.contract.values import counted
from celery_event_bridge.observe import logs

NOTHING = "nothing is parked"
SHORTEST_ID = 4
TEXT_TYPES = ("application/json", "text/", "application/x-yaml")


@click.group(epilog="Example: celery-event-bridge rejected list")
def rejected() -> None:
    """List, show, requeue or purge the messages that could not be forwarded."""


class Wanted:
    """Choice of messages, by reason and by id; counts those that it was asked about."""

    def __init__(self, reason: str | None, ids: tuple[str, ...]) -> None:
        self._reason = reason
        self._ids = ids
        self._seen = 0
        self.is_a_choice = reason is not None or bool(ids)

    def __call__(self, parked: Parked) -> bool:
        """Return whether this one is wanted."""
        self._seen += 1
        is_one = not self._ids or parked.id.startswith(self._ids)
        return is_one and (self._reason is None or parked.reason == self._reason)

    @property
    def nothing(self) -> str:
        """Sentence for when none of them was wanted."""
        return f"none of {self._seen} parked messages matches" if self._seen else NOTHING


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which messages."""
    command = click.option("--reason", metavar="WORD", help="only those parked for this reason")(command)
    return click.option("--id", "ids", multiple=True, metavar="HEX", help="only this one, by its id or its beginning")(
        command
    )


@rejected.command("list", cls=SettingsCommand, epilog="Example: celery-event-bridge rejected list --reason undecodable")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text or json")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="lines; the counts are of all"
)
@chosen
@click.pass_context
def list_(ctx: click.Context, form: str, limit: int, reason: str | None, ids: tuple[str, ...]) -> int:
    """Print a line for each message, oldest first, then how many there are for each reason. Nothing is taken out."""
    standard_output()
    wanted = _wanted(ctx, reason, ids)
    reasons: Counter[str] = Counter()
    size, oldest, newest = 0, "", ""
    with _queue(ctx) as queue:
        for content in queue.contents():
            parked = content.parked
            if not wanted(parked):
                continue
            reasons[parked.reason or "?"] += 1
            size += parked.size
            oldest, newest = oldest or parked.parked_at, parked.parked_at
            if reasons.total() <= limit:
                click.echo(msgspec.json.encode(parked).decode() if form == "json" else _line(parked))
    if form == "text":
        counts = ", ".join(f"{word} {count}" for word, count in reasons.most_common())
        ages = f"; {size} bytes, parked {_ago(oldest)} to {_ago(newest)} ago" if reasons else ""
        click.echo(f"{counted(reasons.total(), 'message')}: {counts}{ages}" if reasons else wanted.nothing)
    elif not reasons and wanted.is_a_choice:
        click.echo(f"celery-event-bridge: {wanted.nothing}", err=True)
    return 0


@rejected.command(cls=SettingsCommand, epilog="Example: celery-event-bridge rejected show --id 3f09")
@click.option("--body", is_flag=True, help="the bytes of the body and nothing else")
@chosen
@click.pass_context
def show(ctx: click.Context, reason: str | None, ids: tuple[str, ...], *, body: bool) -> int:
    """Print all of each message: why it was parked, properties, headers, body. A body is never unpickled."""
    output = standard_output()
    wanted = _wanted(ctx, reason, ids)
    found = 0
    with _queue(ctx) as queue:
        for content in queue.contents():
            if not wanted(content.parked):
                continue
            found += 1
            if body:
                output.buffer.write(content.body)
                output.buffer.flush()
            else:
                _print(content)
    if not found:
        click.echo(wanted.nothing, err=body)
    return int(wanted.is_a_choice and not found)


@rejected.command(cls=SettingsCommand, epilog="Example: celery-event-bridge rejected requeue --reason refused")
@click.option("--all", "everything", is_flag=True, help="whatever the reason")
@chosen
@click.pass_context
def requeue(ctx: click.Context, reason: str | None, ids: tuple[str, ...], *, everything: bool) -> int:
    """Send messages to the bridge again, with the body and the properties that they had.

    Each is taken out once the broker has confirmed the new one, or, on a Redis broker, once the stream has it: a crash
    may double some, and loses none. Nothing is sent into a queue that would lose it. What still cannot be forwarded is
    parked again, once.
    """
    wanted = _wanted(ctx, reason, ids, everything=everything, must_choose=True)
    with _queue(ctx) as queue:
        sent = queue.requeue(wanted)
    click.echo(f"{counted(sent, 'message')} sent again" if sent else wanted.nothing)
    return int(wanted.is_a_choice and not sent)


@rejected.command(cls=SettingsCommand, epilog="Example: celery-event-bridge rejected purge --reason content-type --yes")
@click.option("--all", "everything", is_flag=True, help="whatever the reason")
@click.option("--yes", is_flag=True, help="do not ask")
@chosen
@click.pass_context
def purge(ctx: click.Context, reason: str | None, ids: tuple[str, ...], *, everything: bool, yes: bool) -> int:
    """Throw messages away, for good. Asks first."""
    wanted = _wanted(ctx, reason, ids, everything=everything, must_choose=True)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody to ask: say --yes to throw them away", ctx)
        click.confirm("Throw these messages away, for good?", abort=True)
    with _queue(ctx) as queue:
        gone = queue.purge(wanted)
    click.echo(f"{counted(gone, 'message')} thrown away" if gone else wanted.nothing)
    return int(wanted.is_a_choice and not gone)


@contextmanager
def _queue(ctx: click.Context) -> Iterator[ParkedMessages]:
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, "error")
    broker = chosen.make_broker()
    if not isinstance(broker, HasParked):
        raise unable(chosen, "nothing is parked where it could be looked at")
    with broker.parked() as queue:
        yield queue
        if text := queue.in_hand():
            click.echo(f"celery-event-bridge: {text}", err=True)


def _wanted(
    ctx: click.Context,
    reason: str | None,
    ids: tuple[str, ...],
    *,
    everything: bool = False,
    must_choose: bool = False,
) -> Wanted:
    if must_choose and not (everything or reason or ids):
        raise click.UsageError("which messages? --all, --reason WORD or --id HEX", ctx)
    if short := [text for text in ids if len(text) < SHORTEST_ID]:
        raise click.UsageError(f"--id {short[0]}: give at least {SHORTEST_ID} digits", ctx)
    if reason is not None and reason not in REASONS:
        raise click.UsageError(f"--reason {hide_in_value(reason)}: expected one of {', '.join(REASONS)}", ctx)
    return Wanted(reason, ids)


def _line(parked: Parked) -> str:
    events = ",".join(dict.fromkeys(parked.events)) or "-"
    what = f"{parked.reason:<12} {parked.size:>9} B  {parked.content_type or '-'}  {events}  {parked.hostname or '-'}"
    return legible(f"{parked.id}  {parked.parked_at}  {what}  {parked.error[:100]}")


def _print(content: Content) -> None:
    for name, value in msgspec.to_builtins(content.parked).items():
        click.echo(legible(f"{name}: {', '.join(value) if isinstance(value, list | tuple) else value}"))
    for title, fields in (("properties", content.properties), ("headers", content.headers)):
        click.echo(f"{title}:")
        for name, value in sorted(fields.items(), key=str):
            click.echo(legible(f"    {name}: {value!r}"))
    text = _as_text(content)
    click.echo(f"body, as base64: {base64.b64encode(content.body).decode()}" if text is None else f"body: {text}")
    click.echo()


def _as_text(content: Content) -> str | None:
    """Return the body as it is, if a terminal may show it."""
    if not content.parked.content_type.startswith(TEXT_TYPES):
        return None
    try:
        text = content.body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable() else None


def _ago(at: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
