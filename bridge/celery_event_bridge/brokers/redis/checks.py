"""Redis's part of `check`: each server, its rights, the lease, parking, and whether events come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.contract import Finding, SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

LISTEN = 3.0
"""Seconds to listen for events: a worker sends a heartbeat every two."""
TRIAL = "return redis.call('TIME')[1]"
_VERSION = re.compile(rb"(valkey_version|redis_version):([\d.]+)")
LIMIT = re.compile(rb"pubsub (\d+) (\d+) (\d+)")
SMALL = 8 * 2**20
"""Bytes of the hard limit of a subscriber's output buffer, under which a busy second may end the subscription."""
ENDS = (
    "events are PUB/SUB here: what is published while no bridge is subscribed is lost, and a sink's outage is bounded "
    "by the replicas' memory; run two replicas at least"
)


def findings(settings: Settings, location: Callable[[], str]) -> Iterator[Finding]:
    """Yield a verdict on each server, and on what the bridge needs there."""
    looked = False
    for address in settings.addresses:
        try:
            link = Link(connected(settings, address, role="check"), address.where)
        except BrokerUnavailable as exc:
            yield Finding("FAIL", f"broker {exc}")
            continue
        try:
            yield from _on_server(settings, link, first=not looked, location=location)
        except BrokerUnavailable as exc:
            yield Finding("FAIL", f"broker {exc}")
        finally:
            link.close()
        looked = True


def who_shares(settings: Settings, location: str) -> str | None:
    """Name who holds the lease and stores elsewhere; None if nobody does, or nobody can tell."""
    for address in settings.addresses:
        try:
            link = Link(connected(settings, address, role="check"), address.where)
        except BrokerUnavailable:
            continue
        try:
            if not _text(link.ask("GET", settings.names.lease)):
                return None
            other = _text(link.ask("HGET", settings.names.record, "location"))
            return f"a bridge that stores in {other}" if other and other != location else None
        except BrokerUnavailable:
            continue
        finally:
            link.close()
    return None


def _on_server(settings: Settings, link: Link, *, first: bool, location: Callable[[], str]) -> Iterator[Finding]:
    found = link.ask("INFO", "server")
    version = _VERSION.search(found) if isinstance(found, bytes) else None
    name = version[2].decode() if version else "of a version that it does not say"
    yield Finding("ok", f"broker Redis at {link.where}: connected, {name}")
    if not first:
        return
    names = settings.names
    yield _rights(link, settings)
    holder, record = _text(link.ask("GET", names.lease)), link.ask("HGETALL", names.record)
    stored = _text(record.get(b"location")) if isinstance(record, dict) else ""
    mine = ""
    with suppress(SinkUnavailable):
        mine = location()
    if holder and stored and mine and stored != mine:
        yield Finding(
            "FAIL",
            f"a bridge that stores in {stored} holds the lease {names.lease.decode()}: this one would stand by and "
            "store nothing; give it a BRIDGE_QUEUE of its own",
        )
    elif holder:
        yield Finding("ok", f"lease {names.lease.decode()}: a bridge forwards, this one would stand by")
    else:
        yield Finding("ok", f"lease {names.lease.decode()}: free, no bridge forwards now")
    yield from _buffer(link)
    parked = link.ask("LLEN", names.rejected)
    if isinstance(parked, int) and parked:
        yield Finding(
            "warn",
            f"{counted(parked, 'message')} parked in {names.rejected.decode()}: look at them with "
            "`celery-event-bridge rejected`",
        )
    yield Finding("warn", ENDS)
    yield _events(link, settings)


def _rights(link: Link, settings: Settings) -> Finding:
    names = settings.names
    trials: dict[str, tuple[str | bytes | int, ...]] = {
        "the lease (EVAL)": ("EVAL", TRIAL, 2, names.lease, names.record),
        "to speak to the other replicas (PUBLISH)": ("PUBLISH", names.control, b""),
        "to park (RPUSH)": ("RPUSHX", names.rejected + b".trial", b""),
    }
    refused = [
        f"{what}: {reply}"
        for what, command in trials.items()
        if isinstance(reply := link.ask(*command), Exception) and not str(reply).startswith("READONLY")
    ]
    if refused:
        return Finding("FAIL", f"broker Redis at {link.where} refuses {'; '.join(refused)}")
    return Finding(
        "ok", f"rights: the lease {names.lease.decode()}, its record, and the list {names.rejected.decode()}"
    )


def _buffer(link: Link) -> Iterator[Finding]:
    reply = link.ask("CONFIG", "GET", "client-output-buffer-limit")
    value = next(iter(reply.values()), b"") if isinstance(reply, dict) else b""
    if (limit := LIMIT.search(bytes(value))) and 0 < int(limit[1]) < SMALL:
        yield Finding(
            "warn",
            f"client-output-buffer-limit pubsub is {int(limit[1]) // 2**20} MB: a subscriber that stands still for a "
            "moment is cut off, and events pass by; 32mb is the default",
        )


def _events(link: Link, settings: Settings) -> Finding:
    arrived: list[bytes] = []
    link.subscribe(settings.names.patterns, (), arrived.append)
    deadline = time.monotonic() + LISTEN
    while not arrived and time.monotonic() < deadline:
        link.read(0.1, arrived.append, lambda _: None)
    channel = settings.names.base.decode()
    if arrived:
        return Finding("ok", f"events come on channel {channel}/*")
    return Finding(
        "warn",
        f"no event on channel {channel}/* for {LISTEN:g} s: does a worker run with -E, and are the database, "
        "global_keyprefix and event_exchange those of Celery?",
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
