"""`queues`: declare them, look at them, move to others, remove them."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

import click
import msgspec

from celery_event_bridge.cli.options import SettingsCommand, loaded, refuse_url, unable
from celery_event_bridge.contract.broker_plugin import HasQueues, Queues, QueuesInUse
from celery_event_bridge.contract.secrets import hide_in_value, hide_secrets
from celery_event_bridge.contract.values import counted
from celery_event_bridge.observe import logs


@click.group(epilog="Example: celery-event-bridge queues show")
def queues() -> None:
    """Declare, show, migrate or remove the queues of the bridge at its broker."""


@queues.command(cls=SettingsCommand, epilog="Example: celery-event-bridge queues declare --broker-url amqp://admin@h//")
@click.pass_context
def declare(ctx: click.Context) -> int:
    """Declare and bind them, for bridges whose user may not and that run with BRIDGE_DECLARE=false."""
    with _queues(ctx) as ours:
        for line in ours.declare():
            click.echo(line)
    return 0


@queues.command(cls=SettingsCommand, epilog="Example: celery-event-bridge queues show --format json")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text or json")
@click.pass_context
def show(ctx: click.Context, form: str) -> int:
    """Print depths, consumers, arguments, and what policies change of them where BRIDGE_MANAGEMENT_URL is set.

    Exits 1 if a queue is missing, has other arguments than the settings', or loses messages by a policy.
    """
    with _queues(ctx) as ours:
        states, policies, unseen = ours.states(), ours.policies(), ours.unseen()
    for state in states:
        if form == "json":
            click.echo(msgspec.json.encode(state).decode())
            continue
        there = state.messages is not None
        click.echo(
            f"{state.name}: "
            + (f"{state.messages} ready, {counted(state.consumers, 'consumer')}" if there else "missing")
        )
        for name, value in sorted(state.arguments.items()):
            click.echo(f"    {name} = {value!r}")
        if state.problem:
            click.echo(f"    {state.problem}")
    for finding in policies:
        click.echo(f"{finding.verdict}: {hide_secrets(finding.text)}", err=form == "json")
    if unseen and form != "json":
        click.echo(unseen)
    return int(bool(policies) or any(state.messages is None or state.problem for state in states))


@queues.command(
    cls=SettingsCommand,
    epilog="Example: BRIDGE_QUEUE=celeryev.bridge2 BRIDGE_QUEUE_TTL=30 celery-event-bridge queues migrate "
    "--from celeryev.bridge",
)
@click.option("--from", "old", required=True, metavar="QUEUE", help="the queue that BRIDGE_QUEUE has named so far")
@click.option("--wait", type=float, default=300.0, show_default=True, help="seconds to wait for the old bridges' end")
@click.pass_context
def migrate(ctx: click.Context, old: str, wait: float) -> int:
    """Move to queues with other arguments, under load, without loss.

    The settings say what the new queues are like; they need a BRIDGE_QUEUE of another name. The new ones are declared
    and bound, the old one is unbound, what it and its overflow and parking queue hold is moved, and they are removed
    once the bridges that consume them are stopped. Start bridges with the new settings before or after.
    """
    refuse_url(ctx, "--from", old)
    with _queues(ctx) as ours:
        try:
            ours.migrate(old, wait, click.echo)
        except QueuesInUse as exc:
            click.echo(f"celery-event-bridge: {exc}", err=True)
            return 1
        except ValueError as exc:
            raise click.UsageError(f"--from {hide_in_value(old)}: {exc}", ctx) from exc
    return 0


@queues.command(cls=SettingsCommand, epilog="Example: celery-event-bridge queues remove")
@click.option("--force", is_flag=True, help="also with messages in them, which are lost, or with consumers")
@click.pass_context
def remove(ctx: click.Context, *, force: bool) -> int:
    """Delete them when the bridge is retired. Refused while one has consumers or holds messages.

    Messages that wait for their dead-letter route cannot be seen over AMQP: without BRIDGE_MANAGEMENT_URL this looks
    for three minutes whether any turn up. Nor can messages of a classic queue that somebody has in hand: without it
    such queues are removed with --force alone.
    """
    with _queues(ctx) as ours:
        try:
            names = [state.name for state in ours.states()]
            removed = ours.remove(click.echo, force=force)
        except QueuesInUse as exc:
            click.echo(f"celery-event-bridge: {exc}", err=True)
            return 1
    for name in removed:
        click.echo(f"queue {name}: removed")
    if not removed:
        click.echo(f"nothing to remove: there is no queue {', '.join(names)}")
    return 0


def _queues(ctx: click.Context) -> AbstractContextManager[Queues]:
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, "error")
    for line in chosen.unknown.values():
        click.echo(f"celery-event-bridge: {line}", file=sys.stderr)
    broker = chosen.make_broker()
    if not isinstance(broker, HasQueues):
        raise unable(chosen, "there are no queues to see to")
    return broker.queues()
