"""`replay`: stored events back to a broker's event exchange, or into another sink."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

import click

from celery_event_bridge.cli.options import OPTIONS, SettingsCommand, loaded, refuse_group
from celery_event_bridge.cli.progress import progress
from celery_event_bridge.cli.source_and_target import between_of, events_of, target_of
from celery_event_bridge.config.event_types import unmatched
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.target import Target
from celery_event_bridge.contract.values import counted
from celery_event_bridge.forward.intake import event_filter, patterns_in
from celery_event_bridge.observe import logs
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reading.gone import in_all
from celery_event_bridge.reading.picked import broker_filter, unmatched_brokers
from celery_event_bridge.replay.loop import Figures, Replay
from celery_event_bridge.replay.pace import Pace

LINES = 20
"""Lines on events that are not sent on; further ones are counted."""
INTERRUPTED = 130


@click.command(
    cls=SettingsCommand,
    epilog="Example: celery-event-bridge replay --to amqp://guest:guest@localhost:5673// "
    "--since 2030-01-30T22:00:00+00:00 --until 2030-01-31T06:00:00+00:00 --group night",
)
@click.option(
    "--to",
    "to",
    required=True,
    metavar="URL",
    help="a broker: amqp://..., or redis://... if BRIDGE_BROKER_URL is the same; or a stream: kafka://..., redis://...",
)
@click.option("--from", "url", metavar="URL", help="kafka://host:9092/topic, redis://host:6379/0, sqlite:///events.db")
@click.option("--since", metavar="AGE|TIME", help="events that happened since: 10m, yesterday, 14:00, 2030-01-31")
@click.option("--until", metavar="AGE|TIME", help="events that happened before")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="task-*,!task-received; may be repeated")
@click.option("--broker", "brokers", multiple=True, metavar="PATTERN", help="only of brokers of this name: eu,us-*")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="10: ten times as fast as it happened")
@click.option("--group", metavar="NAME", help="keep the position under this name, and go on from there")
@click.option("--again", is_flag=True, help="also where a bridge would get the events again")
@click.pass_context
def replay(
    ctx: click.Context,
    *,
    to: str,
    url: str | None,
    since: str | None,
    until: str | None,
    types: tuple[str, ...],
    brokers: tuple[str, ...],
    speed: float | None,
    group: str | None,
    again: bool,
) -> int:
    """Send stored events on, in order, from the stream that the settings select, or the one of --from.

    To a broker, as Celery publishes single events, into the exchange BRIDGE_EVENT_EXCHANGE: Flower shows last night's
    tasks. Or to another stream, to move or to back-fill: the same records with the same ids. As fast as possible
    unless there is a --speed. Ctrl-C stops it once what is on its way is confirmed; with --group a second run goes on
    there. Exits 1 if anything was not sent on, also what was gone from the stream before it was read.
    """
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, chosen.settings.log_level)
    options: Mapping[str, str] = ctx.meta.get(OPTIONS, {})
    if group is not None:
        refuse_group(ctx, group)
    between = between_of(ctx, since, until, group)
    with (
        closing(target_of(to, url, options, chosen, again=again)) as target,
        events_of(url, options, group, between) as events,
        closing(progress(between.until or time.time_ns() // 1000)) as shown,
    ):
        refused, patterns, came = _Refused(), patterns_in(types), set[str]()
        named, came_from = patterns_in(brokers), set[str]()
        of_broker = broker_filter(named, came_from)
        if named:
            events.seen.among = of_broker
        run = Replay(
            events,
            target,
            group=group is not None,
            wanted=event_filter(patterns, came),
            broker=of_broker if named else None,
            between=between,
            pace=Pace(speed),
            refused=refused,
            progress=shown,
            patience_to_stop=chosen.settings.shutdown_timeout,
        )
        began = time.monotonic()
        try:
            with stopping(run.stop):
                run.run()
        except (BrokerUnavailable, SinkUnavailable) as exc:
            shown.close()
            raise _Failed(f"{exc}; {_result(run.figures, target, began, group)}") from exc
        shown.close()
    for line in [*unmatched(patterns, "--type", came), *unmatched_brokers(named, "--broker", came_from)]:
        click.echo(f"celery-event-bridge: {line}", err=True)
    click.echo(_result(run.figures, target, began, group))
    if run.figures.interrupted:
        return INTERRUPTED
    return int(bool(run.figures.refused or run.figures.gone) or _unheard(run.figures, target))


class _Failed(Exception):
    """Say in a line why it could not go on, and how far it has come."""


class _Refused:
    """A line for each event that is not sent on, as long as they are not many."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, line: str) -> None:
        self._count += 1
        if self._count <= LINES:
            click.echo(f"celery-event-bridge: not sent: {line}", err=True)
        if self._count == LINES:
            click.echo("celery-event-bridge: not sent: further ones are counted only", err=True)


def _unheard(figures: Figures, target: Target) -> bool:
    return bool(figures.sent) and not target.received


def _result(figures: Figures, target: Target, began: float, group: str | None) -> str:
    """Say in a line how far it has come."""
    seconds = time.monotonic() - began
    parts = [
        f"{counted(figures.sent, 'event')} sent to {target.where} in {seconds:.1f} s ({figures.sent / seconds:.0f}/s)"
    ]
    if figures.read and not figures.sent and not figures.refused and not figures.interrupted:
        parts.append(
            f"none of the {figures.matched} events that matched was confirmed"
            if figures.matched
            else f"0 of {figures.read} events matched (--type, --broker, --since, --until)"
        )
    if _unheard(figures, target):
        parts.append("none of them was received: no queue is bound there, nobody subscribed; start the receiver first")
    elif target.returned:
        parts.append(f"{target.returned} of them had no receiver: no queue is bound for their types, nobody subscribed")
    if figures.refused:
        parts.append(f"{figures.refused} could not be sent")
    if figures.gone:
        parts.append(in_all(figures.gone))
    if figures.shared:
        parts.append("some are sent again by another reader of the group, which has taken over")
    if figures.interrupted:
        parts.append(f"stopped: --group {group} goes on there" if group else "stopped: without --group, for good")
    return "; ".join(parts)
