"""`check`: a verdict a line on the settings and each end, in the order of an event's way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from celery_event_bridge.cli.options import SettingsCommand, loaded
from celery_event_bridge.cli.output import standard_output
from celery_event_bridge.cli.run import location
from celery_event_bridge.config.loading import Loaded, SettingsError
from celery_event_bridge.contract import Advisor, Finding, Previewer, SinkUnavailable, StartGuard
from celery_event_bridge.contract.broker import is_ordered
from celery_event_bridge.contract.secrets import hide_secrets
from celery_event_bridge.forward.leftout import doubts
from celery_event_bridge.observe import http, logs
from celery_event_bridge.process.limits import too_little

if TYPE_CHECKING:
    from celery_event_bridge.contract import SinkPlugin

COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(cls=SettingsCommand, lists_settings=True, epilog="Example: BRIDGE_SINK=redis celery-event-bridge check")
@click.option("--settings", "with_settings", is_flag=True, help="also print the settings in effect, secrets hidden")
@click.option(
    "--format",
    "form",
    type=click.Choice(["list", "json"]),
    default="list",
    help="list, or json: one object (ok, findings)",
)
@click.pass_context
def check(ctx: click.Context, form: str, *, with_settings: bool) -> int:
    """Validate the settings, connect to both ends, and print a verdict per line. Exits 0, or 1 if a line says FAIL.

    The lines follow an event's way: settings, broker, exchange and queues, or on Redis rights and lease, sink. Takes
    the same settings as `run`. It stores no event, takes no message, and makes neither a topic nor a file.
    """
    standard_output()
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, "error")
    found: list[Finding] = []
    for finding in findings(chosen):
        found.append(Finding(finding.verdict, hide_secrets(finding.text)))
        if form == "list":
            click.echo(f"{click.style(f'{finding.verdict:<4}', fg=COLOURS[finding.verdict])} {found[-1].text}")
    failed = any(finding.verdict == "FAIL" for finding in found)
    settings = chosen.effective() if with_settings else {}
    if form == "json":
        listed = [{"verdict": finding.verdict, "text": finding.text} for finding in found]
        shown = {"settings": settings} if with_settings else {}
        click.echo(json.dumps({"ok": not failed, "findings": listed, **shown}, indent=2))
    for name, text in settings.items() if form == "list" else ():
        click.echo(f"     {name}={text}")
    return int(failed)


def findings(chosen: Loaded) -> Iterator[Finding]:
    """Yield a verdict on the settings, each broker URL, each queue, each sink and the HTTP address."""
    for line in chosen.unknown.values():
        yield Finding("FAIL", line)
    for line in chosen.unused:
        yield Finding("warn", line)
    if not chosen.unknown:
        yield Finding("ok", "settings")
    for text in doubts(chosen.settings.event_types):
        yield Finding("FAIL", text)
    broker = chosen.make_broker()
    made = chosen.make_sinks()
    try:
        chosen.make_sinks(ordered=is_ordered(broker.source(partial(location, made))))
    except SettingsError as exc:
        yield Finding("FAIL", str(exc))
    try:
        yield from broker.findings(partial(location, made))
    finally:
        for sink in made:
            sink.close()
    for name, (plugin, settings) in chosen.sinks.items():
        yield from sink_findings(name, plugin, settings)
    yield http.finding(chosen.settings.http)
    if text := too_little(chosen.settings.max_inflight_bytes):
        yield Finding("warn", text)


def sink_findings(name: str, plugin: SinkPlugin, settings: object) -> Iterator[Finding]:
    """Yield a verdict on one sink: whether it would store, and what it advises."""
    sink = plugin(settings)
    try:
        if isinstance(sink, StartGuard) and (text := sink.refusal()):
            yield Finding("FAIL", f"sink {name}: {text}")
            return
        missing: Sequence[Finding] = ()
        if isinstance(sink, Previewer):
            missing = sink.preview()
        else:
            sink.open()
            sink.available()
        yield Finding("ok", f"sink {name}: {'may store' if missing else 'stores'}")
        for finding in missing:
            yield Finding(finding.verdict, f"sink {name}: {finding.text}")
        if isinstance(sink, Advisor):
            for finding in sink.advice():
                yield Finding(finding.verdict, f"sink {name}: {finding.text}")
    except SinkUnavailable as exc:
        yield Finding("FAIL", f"sink {name}: {exc}")
    finally:
        sink.close()
