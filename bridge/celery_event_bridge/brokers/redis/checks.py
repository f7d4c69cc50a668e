"""Redis's part of `check`: each server, its rights, the lease, parking, and whether events come."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.redis import rights, spool_place
from celery_event_bridge.brokers.redis.agreement import PROBE
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.brokers.redis.overheard import Overheard
from celery_event_bridge.brokers.redis.peers import chosen
from celery_event_bridge.brokers.redis.server import Server, server
from celery_event_bridge.contract import Finding, SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.address import Address
    from celery_event_bridge.brokers.redis.settings import Settings

LISTEN = 3.0
"""Seconds to listen for events: a worker sends a heartbeat every two."""
SAID = 2 * PROBE
"""Seconds in which each bridge has said which settings are its."""
LIMIT = re.compile(rb"pubsub (\d+) (\d+) (\d+)")
SMALL, SOFT = 8 * 2**20, 2 * 2**20
"""Bytes of the hard and of the soft limit of a subscriber's output buffer, under which a busy second may end the
subscription."""
NEARLY_FULL = 90
"""Percent of `maxmemory`."""
ENDS = (
    "events are PUB/SUB here: what is published while no bridge is subscribed is lost, and a sink's outage is bounded "
    "by the replicas' memory"
)
TWO = "run two replicas at least"


def findings(settings: Settings, location: Callable[[], str]) -> Iterator[Finding]:
    """Yield a verdict on each server, and on what the bridge needs at the first that it would use."""
    used, replicas = False, list[str]()
    for address in settings.addresses:
        try:
            link = Link(connected(settings, address, role="check"), address.where)
        except BrokerUnavailable as exc:
            yield Finding("FAIL", f"broker {exc}")
            continue
        try:
            found = server(link)
            if found.is_replica:
                replicas.append(link.where)
                continue
            name = found.name.partition(" ")[2] or "of a version that it does not say"
            yield Finding("ok", f"broker {found.name.partition(' ')[0] or 'Redis'} at {link.where}: connected, {name}")
            if not used:
                yield from _on_server(settings, address, link, found, location)
            used = True
        except BrokerUnavailable as exc:
            yield Finding("FAIL", f"broker {exc}")
        finally:
            link.close()
    for where in replicas:
        text = f"broker Redis at {where} is a replica, on which no bridge can take the lease"
        if used:
            yield Finding("ok", f"{text}: bridges go on to the next URL, until it is the master")
        else:
            yield Finding("FAIL", f"{text}: name its master in BRIDGE_BROKER_URL, or the sentinels")


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


def _on_server(
    settings: Settings, address: Address, link: Link, found: Server, location: Callable[[], str]
) -> Iterator[Finding]:
    names = settings.names
    yield from rights.judged(link, names, found)
    yield from rights.overwritten(link, names)
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
    if settings.spool is not None:
        yield spool_place.judged(settings.spool, settings.spool_max_bytes)
    yield from _memory(link, found)
    yield from _buffer(link)
    parked = link.ask("LLEN", names.rejected)
    if isinstance(parked, int) and parked:
        yield Finding(
            "warn",
            f"{counted(parked, 'message')} parked in {names.rejected.decode()}: look at them with "
            "`celery-event-bridge rejected`",
        )
    bridges = _bridges(link, names.control)
    yield Finding("warn", f"{ENDS}; " + (f"{bridges} bridges are subscribed" if bridges > 1 else TWO))
    yield from _heard(link, settings, address, say=bridges > 0)


def _memory(link: Link, found: Server) -> Iterator[Finding]:
    if not found.limit:
        return
    limit = f"maxmemory {found.limit / 2**20:.3g} MB, {found.policy}"
    if found.policy and found.policy != "noeviction":
        what = "the lease and its record" if found.policy.startswith("volatile") else (
            "Celery's tasks, the lease and what is parked"
        )  # fmt: skip
        yield Finding(
            "warn",
            f"Redis at {link.where} may remove {what} once its memory is used up ({limit}): a broker needs "
            "maxmemory-policy noeviction",
        )
    elif NEARLY_FULL <= (percent := 100 * found.used // found.limit) < 100:  # past that the rights have failed
        yield Finding(
            "warn",
            f"Redis at {link.where} has used {percent} % of its memory ({limit}): once it is full no bridge can take "
            "the lease over, nothing can be parked, and Celery can send no task",
        )


def _buffer(link: Link) -> Iterator[Finding]:
    reply = link.ask("CONFIG", "GET", "client-output-buffer-limit")
    value = next(iter(reply.values()), b"") if isinstance(reply, dict) else b""
    if (limit := LIMIT.search(bytes(value))) is None:
        return
    hard, soft, seconds = (int(part) for part in limit.groups())
    bounds = [f"{hard / 2**20:.3g} MB wait for it"] if hard else []
    bounds += [f"{soft / 2**20:.3g} MB do for {seconds} s"] if soft and seconds else []
    if not bounds:
        return
    text = f"client-output-buffer-limit pubsub: Redis cuts off a bridge that stands still once {', or '.join(bounds)}"
    if 0 < hard < SMALL or (seconds and 0 < soft < SOFT):
        yield Finding("warn", f"{text}, and the events of a busy moment pass by; 32mb 8mb 60 is the default")
    else:
        yield Finding("ok", text)


def _bridges(link: Link, control: bytes) -> int:
    reply = link.ask("PUBSUB", "NUMSUB", control)
    counts = [part for part in reply if isinstance(part, int)] if isinstance(reply, list) else []
    return counts[0] if counts else 0


def _heard(link: Link, settings: Settings, address: Address, *, say: bool) -> Iterator[Finding]:
    """Yield what comes of the events, and of the bridges where there are some to `say` anything."""
    names, arrived, differing = settings.names, list[bytes](), dict[str, None]()
    ours = chosen(settings)

    def on_other(item: list[Any]) -> None:
        if item[:2] == [b"message", names.control] and (message := Control.read(item[2])) is not None:
            differing.update(dict.fromkeys(ours.differences(message)))

    with Overheard(settings, address) as others:
        link.subscribe(names.patterns, (names.again, names.control), arrived.append)
        deadline, said = Deadline(LISTEN), Deadline(SAID if say else 0.0)
        while not (deadline.passed or (arrived and said.passed)):
            link.read(0.1, arrived.append, on_other)
        elsewhere = [] if arrived else others.channels()
    for text in differing:
        yield Finding("warn", text)
    channel = names.base.decode()
    if arrived:
        yield Finding("ok", f"events come on channel {channel}/*")
    elif elsewhere:
        yield Finding(
            "warn",
            f"no event on channel {channel}/* for {LISTEN:g} s, but on {', '.join(elsewhere)}: the number in it is the "
            "database in Celery's broker_url, and what is before it the global_keyprefix; are they those of "
            "BRIDGE_BROKER_URL and BRIDGE_BROKER_TRANSPORT_OPTIONS?",
        )
    else:
        yield Finding(
            "warn",
            f"no event on channel {channel}/* for {LISTEN:g} s: does a worker run with -E, and are the database, "
            "global_keyprefix and event_exchange those of Celery?",
        )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
