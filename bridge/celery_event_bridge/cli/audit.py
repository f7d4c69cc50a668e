"""`audit`: what is missing, doubled, out of order or late in the stream, once or continuously."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.report import Report
from celery_event_bridge.cli.moments import as_since, moment_of, refuse_backwards
from celery_event_bridge.cli.options import OPTIONS, SettingsCommand, loaded, naming
from celery_event_bridge.cli.output import discard, standard_output
from celery_event_bridge.cli.progress import progress
from celery_event_bridge.contract.values import duration
from celery_event_bridge.forward.intake import event_filter, patterns_in
from celery_event_bridge.observe import logs
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reader import open_reader
from celery_event_bridge.reading.session import Events

if TYPE_CHECKING:
    from celery_event_bridge.audit.live import Live

PATIENCE = 10.0
"""Seconds that a stream may be away before a look at it fails. With `--follow` it is waited for."""
AGE = "AGE|TIME"
STEP = 500
"""Events between two looks at how far it is."""
EMPTY = 3
"""The exit code where there was nothing to judge."""
WAY_OUT = "; --allow-empty exits 0"


@click.command(cls=SettingsCommand, epilog="Example: celery-event-bridge audit --since 1h --format json")
@click.option("--since", metavar=AGE, help="10m, 1h30m, yesterday, 14:00, 2030-01-31, earliest (the default)")
@click.option("--until", metavar=AGE, help="the end of the period, in the same ways; now by default")
@click.option("--settle", metavar="AGE", default="10s", show_default=True, help="what is younger is not judged yet")
@click.option("--late", metavar="AGE", default="1h", show_default=True, help="how late events may come after others")
@click.option("--worker", "workers", multiple=True, metavar="PATTERN", help="only these: billing@*,!test@*")
@click.option("--broker", "brokers", multiple=True, metavar="PATTERN", help="only of brokers of this name: eu,us-*")
@click.option("--task", "names", multiple=True, metavar="PATTERN", help="only tasks of these names: !reports.*")
@click.option("--app", "app", metavar="MODULE", help="the Celery app to ask about tasks without an end, as celery -A")
@click.option("--plot", metavar="FILE", help="write a picture of the delays, as SVG")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="table or json")
@click.option("--follow", "-f", is_flag=True, help="go on, and serve the figures as metrics on BRIDGE_HTTP")
@click.option("--allow-empty", is_flag=True, help="exit 0, not 3, where nothing was read, or nothing judged")
@click.option("--from", "url", metavar="URL", help="kafka://host:9092/topic, redis://host:6379/0, sqlite:///events.db")
@click.pass_context
def audit(ctx: click.Context, /, **given: Any) -> int:
    """Say what is missing, doubled, out of order or late in the stream. Exits 1 if something is missing.

    Events missing by the workers' own account, with the time in which they went missing; tasks without a start or an
    end; duplicates, inversions and delays. What is only perhaps missing is listed and does not count. Exits 3 if
    nothing was read, or all of it is too young to be judged: an empty stream says nothing about bridges that are down.
    """
    if not given["follow"]:
        standard_output()  # find out before a long reading, not after it
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, chosen.settings.log_level)
    since, until = (moment_of(ctx, each, given[each]) for each in ("since", "until"))
    settle, late = _age(ctx, "settle", given["settle"]), _age(ctx, "late", given["late"])
    _refuse(ctx, given, since, until)
    wanted = Wanted(
        since=since if isinstance(since, int) else None,
        until=until if isinstance(until, int) else None,
        late=late,
        type=event_filter(chosen.settings.event_types),
        worker=event_filter(patterns_in(given["workers"])),
        task=event_filter(patterns_in(given["names"])),
        apart=not _is_one(patterns_in(given["brokers"])),
    )
    if given["plot"]:
        _writable(ctx, Path(given["plot"]))
    with naming("--from", given["url"]):
        events = open_reader(
            given["url"],
            since=as_since(since),
            broker=given["brokers"],
            follow=given["follow"],
            window=0,  # what is there twice is what is looked for
            give_up_after=None if given["follow"] else PATIENCE,
            options=ctx.meta.get(OPTIONS, {}),
        )
    live = _live(ctx, given["app"])
    if given["follow"]:
        from celery_event_bridge.audit.follow import Follower

        with events, stopping(events.stop):
            Follower(events, Auditor(wanted), settle).run(chosen.settings.http)
        return 0
    with naming("--from", given["url"]), events, stopping(events.stop):
        report = _read(events, Auditor(wanted), wanted, settle)
    if report is None:
        return 130
    if live is not None:
        report.asked = live.ask(report.open, report.horizon)
    if given["plot"]:
        from celery_event_bridge.audit.picture import picture

        Path(given["plot"]).write_text(picture(report.delays), encoding="utf-8")
    failed = bool(report.empty) and not given["allow_empty"]
    _print(report, given["form"], standard_output(), hint=WAY_OUT if failed else "")
    if failed:
        if given["form"] == "json":  # which has no words
            click.echo(f"celery-event-bridge: {report.empty}{WAY_OUT}", err=True)
        return EMPTY
    return int(report.missing)


def _read(events: Events, auditor: Auditor, wanted: Wanted, settle: int) -> Report | None:
    """Read to the end of the stream, or of what may belong to the period; None where it was interrupted."""
    ended = False
    with closing(progress(wanted.until or time.time_ns() // 1000)) as shown:
        for count, event in enumerate(events, 1):
            auditor.add(event.record)
            if not count % STEP and event.record.stored:
                shown(event.record.stored, count)
            if wanted.until is not None and (event.record.stored or 0) > wanted.until + wanted.late:
                ended = True
                break
    if not ended and events.stopped:
        return None
    auditor.skipped = events.missed()
    return auditor.report(round(time.time() * 1e6), settle)


def _live(ctx: click.Context, name: str | None) -> Live | None:
    if name is None:
        return None
    from celery_event_bridge.audit.live import AppNotFound, Live

    try:
        return Live(name)
    except AppNotFound as exc:
        raise click.UsageError(f"--app {name}: {exc}", ctx) from exc


def _writable(ctx: click.Context, file: Path) -> None:
    """Find out before a long reading, not after it."""
    if file.suffix.lower() not in ("", ".svg"):
        raise click.UsageError(f"--plot {file}: the picture is SVG: let the name end in .svg", ctx)
    try:
        file.open("a", encoding="utf-8").close()
    except OSError as exc:
        raise click.UsageError(f"--plot {file}: cannot write it: {exc.strerror}", ctx) from exc


def _print(report: Report, form: str, output: TextIO, *, hint: str) -> None:
    try:
        if form == "json":
            output.write(msgspec.json.format(msgspec.json.encode(report.json()), indent=2).decode() + "\n")
        else:
            from celery_event_bridge.cli.audit_table import show

            show(report, output, hint=hint)
        output.flush()
    except BrokenPipeError:
        discard(output)


def _refuse(ctx: click.Context, given: dict[str, Any], since: str | int | None, until: str | int | None) -> None:
    if until == "earliest":
        raise click.UsageError("--until=earliest: nothing is before that", ctx)
    refuse_backwards(ctx, (given["since"], given["until"]), since, until)
    if given["follow"]:
        for option in ("until", "app", "plot"):
            if given[option]:
                raise click.UsageError(f"--{option}: not together with --follow", ctx)


def _age(ctx: click.Context, option: str, text: str) -> int:
    try:
        return round(float(duration(text)) * 1e6)
    except ValueError as exc:
        raise click.UsageError(f"--{option} {text}: {exc}", ctx) from exc


def _is_one(brokers: Sequence[str]) -> bool:
    """Return whether these patterns let one broker's name through."""
    return len(brokers) == 1 and not set("!*?[") & set(brokers[0])
