"""`check`: the settings in effect, then a verdict a line on each end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from celery_event_bridge.brokers.rabbitmq.checks import findings as rabbitmq
from celery_event_bridge.cli.options import SettingsCommand, loaded
from celery_event_bridge.cli.run import location
from celery_event_bridge.config.loading import Loaded
from celery_event_bridge.contract import Advisor, Finding, Previewer, SinkUnavailable
from celery_event_bridge.contract.secrets import hide_secrets
from celery_event_bridge.forward.leftout import doubts
from celery_event_bridge.observe import logs

if TYPE_CHECKING:
    from celery_event_bridge.contract import SinkPlugin

COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(cls=SettingsCommand, lists_settings=True, epilog="Example: BRIDGE_SINK=redis celery-event-bridge check")
@click.pass_context
def check(ctx: click.Context) -> int:
    """Validate the settings, connect to both ends, and print a verdict per line. Exits 0, or 1 if a line says FAIL.

    Takes the same options as `run`. It stores no event, takes no message and makes no topic; a SQLite file
    that is not there is made.
    """
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, "error")
    for name, text in chosen.effective().items():
        click.echo(f"     {name}={text}")
    failed = False
    for finding in findings(chosen):
        failed = failed or finding.verdict == "FAIL"
        verdict = click.style(f"{finding.verdict:<4}", fg=COLOURS[finding.verdict])
        click.echo(f"{verdict} {hide_secrets(finding.text)}")
    return int(failed)


def findings(chosen: Loaded) -> Iterator[Finding]:
    """A verdict on the settings, each broker URL, each queue and each sink."""
    for line in chosen.unknown.values():
        yield Finding("FAIL", line)
    if not chosen.unknown:
        yield Finding("ok", "settings")
    if chosen.settings.queue_type == "classic":
        yield Finding(
            "warn",
            "BRIDGE_QUEUE_TYPE=classic: events waiting in a queue are lost when RabbitMQ restarts, and on the way "
            "to overflow in a crash; quorum queues keep them",
        )
    for text in doubts(chosen.settings.event_types):
        yield Finding("FAIL", text)
    made = [plugin(settings) for plugin, settings in chosen.sinks.values()]
    try:
        yield from rabbitmq(chosen.settings, partial(location, made))
    finally:
        for sink in made:
            sink.close()
    for name, (plugin, settings) in chosen.sinks.items():
        yield from _sink(name, plugin, settings)


def _sink(name: str, plugin: SinkPlugin, settings: object) -> Iterator[Finding]:
    sink = plugin(settings)
    try:
        sink.open()
        if isinstance(sink, Previewer):
            missing = sink.preview()
        else:
            missing = ()
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
