"""`run`: build the parts, connect them, forward until stopped. The composition root."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial

import click
import structlog

from celery_event_bridge.cli.options import SettingsCommand, loaded
from celery_event_bridge.config.loading import Loaded, SettingsError
from celery_event_bridge.contract import Located, Sink, StartGuard, notices
from celery_event_bridge.contract.broker import RefusedForGood, is_ordered
from celery_event_bridge.contract.broker_plugin import BrokerPlugin, SharesQueue
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.forward.leftout import doubts
from celery_event_bridge.forward.relay import Relay
from celery_event_bridge.forward.tee import Tee
from celery_event_bridge.observe import logs
from celery_event_bridge.observe.http import serve
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.sink import ObservedSink
from celery_event_bridge.observe.status import Status
from celery_event_bridge.process.limits import too_little
from celery_event_bridge.process.memory import giving_back
from celery_event_bridge.process.signals import stopping

log = structlog.get_logger("celery_event_bridge")


@click.command(
    cls=SettingsCommand,
    lists_settings=True,
    epilog="Example: celery-event-bridge run --sink redis --broker-url amqp://rabbitmq:5672//",
)
@click.pass_context
def run(ctx: click.Context) -> int:
    """Forward events until stopped: SIGTERM, SIGINT or SIGHUP finishes what is in hand, a second one ends at once.

    Each option is the setting of that name, BRIDGE_QUEUE_TTL for --queue-ttl, and wins over it; a sink's settings
    are options too, such as --redis-url or --sqlite-path.
    """
    chosen = loaded(ctx)
    logs.configure(chosen.settings.log_format, chosen.settings.log_level)
    for line in (*chosen.unknown.values(), *chosen.unused):
        log.warning(line)
    for text in doubts(chosen.settings.event_types):
        notices.tell("filter", text, subject=text)
    if text := too_little(chosen.settings.max_inflight_bytes):
        log.warning(text)
    return forward(chosen)


def location(sinks: Sequence[Sink]) -> str:
    """Return where all of these store, the same in whatever order they are given. Raises SinkUnavailable."""
    return " + ".join(sorted(sink.location() if isinstance(sink, Located) else sink.name for sink in sinks))


def refuse_to_throw_away(sinks: Sequence[Sink]) -> None:
    """Raise SettingsError where what one of these stores would not be kept."""
    for sink in sinks:
        if isinstance(sink, StartGuard) and (text := sink.refusal()):
            raise SettingsError(text)


def refuse_to_share(broker: BrokerPlugin) -> None:
    """Raise SettingsError where others consume the queue: what is printed here would be missing there."""
    if isinstance(broker, SharesQueue) and (others := broker.shared_with("stdout")) is not None:
        raise SettingsError(
            f"BRIDGE_SINK=stdout would take events away from {others}: each event would reach one of the two only. To "
            "look at events give this one a queue of its own: BRIDGE_QUEUE=a-look"
        )


def say_cut_off(status: Status, metrics: Metrics) -> None:
    """Log that a stop did not end by itself."""
    log.warning(
        "stop cut off after BRIDGE_SHUTDOWN_TIMEOUT; what was not confirmed goes back to the broker",
        messages=status.inflight_messages,
        forwarded=metrics.events_confirmed,
    )


def forward(chosen: Loaded) -> int:
    """Run a relay with these settings until SIGTERM or SIGINT. Returns the exit code.

    Raises SettingsError where the broker refuses one at the start, OSError where the HTTP address cannot be had,
    SinkGone where a sink has ended for good.
    """
    settings = chosen.settings
    broker = chosen.make_broker()
    status = Status()
    metrics = Metrics(status)
    if settings.sink == ("stdout",):
        refuse_to_share(broker)
    source = broker.source(lambda: location(made))
    made = chosen.make_sinks(ordered=is_ordered(source))
    refuse_to_throw_away(made)
    sinks: list[Sink] = [ObservedSink(sink, metrics, status) for sink in made]
    sink = sinks[0] if len(sinks) == 1 else Tee(sinks)
    status.queue_messages = source.depths  # each queue's series is there from the first scrape on
    relay = Relay(source, sink, broker.parking(), settings, metrics, status)
    stop = stopping(relay.stop, settings.shutdown_timeout, partial(say_cut_off, status, metrics))
    with serve(settings.http, status, metrics) as address, stop, giving_back():
        log.info(
            "started",
            broker=[hide_in_url(url) for url in settings.broker_urls],
            **({} if settings.broker_name is None else {"broker_name": settings.broker_name}),
            **broker.names(),
            sink=sink.name,
            **chosen.streams(),
            http=address,
        )
        # What is there now stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        try:
            returned = relay.run()
        except RefusedForGood as exc:
            raise SettingsError(str(exc)) from exc
    notices.tell_rest(at_the_end=True)
    if returned:
        log.warning(
            "stopped; what was not confirmed goes back to the broker",
            messages=returned,
            forwarded=metrics.events_confirmed,
        )
    else:
        log.info("stopped; all that was in hand is confirmed", forwarded=metrics.events_confirmed)
    return 0
