"""The two ends of a replay, and the stretch of time between them, as the command line names them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping

import click

from celery_event_bridge.cli.moments import is_fixed, moment_of, refuse_backwards
from celery_event_bridge.cli.options import naming
from celery_event_bridge.config import plugins
from celery_event_bridge.config.loading import BROKER, Loaded, SettingsError, load
from celery_event_bridge.contract.broker import WouldLoop
from celery_event_bridge.contract.broker_plugin import TakesEvents
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.contract.target import Target
from celery_event_bridge.reader import Events, open_reader
from celery_event_bridge.reading.streams import find, find_sink, identity
from celery_event_bridge.replay.pick import Between
from celery_event_bridge.replay.sink_target import SinkTarget

PATIENCE = 10.0
"""Seconds that the stream, or the sink at the beginning, may be away."""
SINKS_PATIENCE = 60.0
"""Seconds that a sink may be away later: a new leader in Kafka takes about 30."""
LEASE = 15.0
"""Seconds after which a run that was killed, with the same group, is replaced by the next one."""
CLOCKS = 5 * 60
"""Seconds by which a sender's clock may be ahead of the stream's. So much earlier is begun to read."""
POLL_INTERVAL = "BRIDGE_KAFKA_MAX_POLL_INTERVAL_MS"
LONGEST_POLL_INTERVAL = "86400000"
"""Librdkafka's most: at a slow pace it is long until the next events are asked for."""


def between_of(ctx: click.Context, since: str | None, until: str | None, group: str | None) -> Between:
    """Return the times, which with a group have to mean the same in a second run."""
    bounds: dict[str, int | None] = {}
    for name, text in (("since", since), ("until", until)):
        bound = moment_of(ctx, name, text)
        if isinstance(bound, str):
            raise click.UsageError(f"--{name} {bound}: expected an age such as 10m, or a time", ctx)
        if bound is not None and group is not None and text and not is_fixed(text):
            raise click.UsageError(
                f"--{name} {text} with --group: a second run would take it from another moment; "
                f"say --{name} {_written_out(bound)}",
                ctx,
            )
        bounds[name] = bound
    refuse_backwards(ctx, (since, until), bounds["since"], bounds["until"])
    return Between(**bounds)


def _written_out(microseconds: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return "a time, or nothing"


def events_of(
    url: str | None,
    options: Mapping[str, str],
    group: str | None,
    between: Between,
) -> Events:
    """Return the events of the stream, up to its end."""
    since = None
    if between.since is not None:
        try:
            since = datetime.datetime.fromtimestamp(between.since / 1e6 - CLOCKS, datetime.UTC)
        except (ValueError, OverflowError):
            pass  # before there was any stream
    if POLL_INTERVAL not in os.environ:
        options = {POLL_INTERVAL: LONGEST_POLL_INTERVAL, **options}
    with naming("--from", url):
        return open_reader(url, group, since, follow=False, lease=LEASE, give_up_after=PATIENCE, options=options)


def target_of(to: str, url: str | None, options: Mapping[str, str], chosen: Loaded, *, again: bool) -> Target:
    """Return the broker, or the stream, at `to`. Raises SettingsError, BrokerUnavailable, SinkUnavailable."""
    scheme = to.partition(":")[0].strip().lower()  # no urlsplit, which refuses some hosts
    if scheme in plugins.broker_schemes() and not _is_stream(to, scheme, chosen):
        return _broker(scheme, to, options, chosen, again=again)
    with naming("--from", url):
        source, source_settings = find(url, options=options)
    try:
        reader, plugin, sink_settings = find_sink(to, options=options)
    except SettingsError as exc:
        where = hide_in_url(to)
        raise SettingsError(f"--to {exc}" if str(exc).startswith(where) else f"--to {where}: {exc}") from exc
    with naming("--to", to):
        there = identity(reader, sink_settings)
    with naming("--from", url):
        here = identity(source, source_settings)
    if there & here:
        raise SettingsError(f"--to {hide_in_url(to)}: it is the stream that is read")
    if scheme in chosen.broker[0].schemes and "stream=" not in to:
        click.echo(
            f"celery-event-bridge: --to {hide_in_url(to)}: stored into a stream there, since BRIDGE_BROKER_URL is "
            "another; for who listens to Celery's events there set BRIDGE_BROKER_URL to the same",
            err=True,
        )
    sink = plugin(sink_settings)
    with naming("--to", to):
        return SinkTarget(sink, hide_in_url(to), chosen.settings.retry_max_interval, SINKS_PATIENCE, PATIENCE)


def _is_stream(to: str, scheme: str, chosen: Loaded) -> bool:
    """Return whether a URL that may be a broker's or a stream's is a stream's.

    It is a broker's where it is that of BRIDGE_BROKER_URL, user and password aside, and names no stream.
    """
    if scheme not in plugins.reader_schemes():
        return False
    place = _without_login(to)
    return place not in map(_without_login, chosen.settings.broker_urls)


def _without_login(url: str) -> str:
    scheme, _, rest = url.strip().rstrip("/").partition("://")
    return f"{scheme.lower()}://{rest.rpartition('@')[2]}"


def _broker(scheme: str, to: str, options: Mapping[str, str], chosen: Loaded, *, again: bool) -> Target:
    with naming("--to", to):
        if plugins.broker(f"{scheme}://") is not chosen.broker[0]:
            chosen = load(os.environ, {**options, BROKER: to})
        broker = chosen.make_broker()
        if not isinstance(broker, TakesEvents):
            raise SettingsError(f"--to {hide_in_url(to)}: events cannot be sent to a broker of this kind")
        try:
            return broker.target(to, again=again)
        except ValueError as exc:
            problem = f"--to {hide_in_url(to)}: {exc}"
        except WouldLoop as exc:
            problem = str(exc)
    raise SettingsError(problem)
