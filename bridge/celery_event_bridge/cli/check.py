"""`check`: the settings in effect, then a verdict a line on each end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.topology import Topology, declare_exchange, declare_queue
from celery_event_bridge.cli.options import SettingsCommand, loaded
from celery_event_bridge.config.loading import Loaded
from celery_event_bridge.contract import Advisor, SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_secrets
from celery_event_bridge.observe import logs

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.contract import SinkPlugin

Finding = tuple[str, str]
"""`ok`, `warn` or `FAIL`, and a line."""
COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@click.command(cls=SettingsCommand, epilog="Example: BRIDGE_SINK=redis celery-event-bridge check")
@click.pass_context
def check(ctx: click.Context) -> int:
    """Validate the settings, connect to both ends, and print a verdict per line. Exits 0, or 1 if a line says FAIL.

    Takes the same options as `run`. It stores no event and takes no message; a SQLite file that
    is not there is made.
    """
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, "error")
    for name, text in chosen.effective().items():
        click.echo(f"     {name}={text}")
    failed = False
    for verdict, text in findings(chosen):
        failed = failed or verdict == "FAIL"
        click.echo(f"{click.style(f'{verdict:<4}', fg=COLOURS[verdict])} {hide_secrets(text)}")
    return int(failed)


def findings(chosen: Loaded) -> Iterator[Finding]:
    """A verdict on the settings, each broker URL, each queue and each sink."""
    for line in chosen.unknown.values():
        yield "FAIL", line
    if not chosen.unknown:
        yield "ok", "settings"
    if chosen.settings.queue_type == "classic":
        yield (
            "warn",
            (
                "BRIDGE_QUEUE_TYPE=classic: events waiting in a queue are lost when RabbitMQ restarts, and on the way "
                "to overflow in a crash; quorum queues keep them"
            ),
        )
    yield from _broker(chosen)
    for name, (plugin, settings) in chosen.sinks.items():
        yield from _sink(name, plugin, settings)


def _broker(chosen: Loaded) -> Iterator[Finding]:
    looked = False
    for url in chosen.settings.broker_urls:
        try:
            connection = connect(chosen.settings, url, role="check")
        except BrokerUnavailable as exc:
            yield "FAIL", f"broker {exc}"
            continue
        yield "ok", f"broker {hide_secrets(url)}: connected"
        try:
            if not looked:  # the others are nodes of the same cluster
                looked = True
                yield from _queues(chosen, connection)
        finally:
            abandon(connection)


def _queues(chosen: Loaded, connection: amqp.Connection) -> Iterator[Finding]:
    topology = Topology.from_settings(chosen.settings)
    yield _exchange(topology, connection, declare=chosen.settings.declare)
    for queue in topology.queues:
        try:
            found = _on_a_channel(
                connection, lambda channel, name=queue.name: channel.queue_declare(name, passive=True)
            )
            # It is there, so that this changes nothing and says whether the arguments are ours.
            if chosen.settings.declare:
                _on_a_channel(connection, lambda channel, spec=queue: declare_queue(channel, spec))
        except BrokerUnavailable as exc:
            missing = "NOT_FOUND" in str(exc)
            if missing and chosen.settings.declare:
                yield "ok", f"queue {queue.name}: not there yet, run will declare it"
            else:
                yield "FAIL", str(exc)
        else:
            yield _ready(queue.name, found.message_count, parked=queue is topology.rejected)


def _ready(queue: str, messages: int, *, parked: bool) -> Finding:
    if parked and messages:
        return "warn", f"queue {queue}: {messages} messages are parked: see docs/how-to/parked-messages.md"
    return "ok", f"queue {queue}: {messages} messages ready"


def _exchange(topology: Topology, connection: amqp.Connection, *, declare: bool) -> Finding:
    try:
        _on_a_channel(connection, lambda channel: channel.exchange_declare(topology.exchange, "topic", passive=True))
    except BrokerUnavailable as exc:
        if "NOT_FOUND" in str(exc):
            return "ok", f"exchange {topology.exchange}: not there yet, run or a worker will declare it"
        return "FAIL", str(exc)
    if declare:
        try:
            # It is there, so that this changes nothing, and says whether it is of the right type.
            _on_a_channel(connection, lambda channel: declare_exchange(channel, topology.exchange))
        except BrokerUnavailable as exc:
            return "FAIL", str(exc)
    return "ok", f"exchange {topology.exchange}"


def _on_a_channel(connection: amqp.Connection, action: Callable[..., Any]) -> Any:
    """Do something on a channel of its own, since an error closes it."""
    with translated():
        channel = connection.channel()
        result = action(channel)
        channel.close()
    return result


def _sink(name: str, plugin: SinkPlugin, settings: object) -> Iterator[Finding]:
    sink = plugin(settings)
    try:
        sink.open()
        sink.available()
        yield "ok", f"sink {name}: stores"
        if isinstance(sink, Advisor):
            for finding in sink.advice():
                yield finding.verdict, f"sink {name}: {finding.text}"
    except SinkUnavailable as exc:
        yield "FAIL", f"sink {name}: {exc}"
    finally:
        sink.close()
