"""Sinks into a Redis that others change: opened, written to, and what is in their streams."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis as Client

from celery_event_bridge.contract import Event, Outcome, Verdict, notices
from celery_event_bridge.testing import deliver, sample_events
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from tests.faults.proxy import Proxy
from tests.support import oracle
from tests.support.servers.debian import PATIENCE, until
from tests.support.servers.redis import NativeRedis


def sink(url: str, **settings: Any) -> RedisStreamsSink:
    """Make one; its own parameters may be among the settings."""
    own = {name: settings.pop(name) for name in ("reply_timeout", "trim_interval") if name in settings}
    return RedisStreamsSink(RedisSettings(url=url, **settings), **own)


OPENED: list[RedisStreamsSink] = []


def opened(url: str, **settings: Any) -> RedisStreamsSink:
    subject = sink(url, **settings)
    OPENED.append(subject)
    subject.open()
    return subject


def stored(url: str) -> list[bytes]:
    return [entry[b"data"] for entry in oracle.in_redis(url)]


def in_use(url: str, **settings: Any) -> RedisStreamsSink:
    """One that has stored something, and has asked all that it asks."""
    subject = opened(url, **settings)
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, sample_events(5), 80)}
    return subject


def port(url: str) -> int:
    return int(url.rpartition("/")[0].rpartition(":")[2])


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


@contextmanager
def configured(*options: str) -> Iterator[NativeRedis]:
    """A server with options of its own."""
    server = NativeRedis(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def replicate(replica: Client, url: str) -> None:
    """Let it be a replica with all that the other has."""
    replica.replicaof("127.0.0.1", str(port(url)))
    until(lambda: replica.info("replication")["master_link_status"] == "up", 20, "the replica has all")


def store_all(subject: Any, events: Sequence[Event], seconds: float = 30) -> list[Verdict]:
    """Hand over, and again what comes back, as the relay does; the verdicts that are final."""
    left, final = list(events), list[Verdict]()
    deadline = time.monotonic() + seconds * PATIENCE
    while left:
        assert time.monotonic() < deadline, f"{len(left)} of {len(events)} are not decided"
        arrived = deliver(subject, left, 80)
        final += [verdict for verdict in arrived if verdict.outcome is not Outcome.RETRY]
        left = [event for verdict in arrived if verdict.outcome is Outcome.RETRY for event in verdict.events]
        if left:
            time.sleep(0.05)
    return final


def refused(verdicts: Sequence[Verdict]) -> list[Event]:
    return [event for verdict in verdicts if verdict.outcome is Outcome.REFUSED for event in verdict.events]


def told(kind: str) -> int:
    return notices.NOTICES.counts()[kind]


# Entries go ---------------------------------------------------------------------------------------------------------


def looked_at(url: str, count: int = 20, **settings: Any) -> Any:
    """A sink that has stored so many, and has looked at the stream."""
    subject = opened(url, **settings)
    store_all(subject, sample_events(count))
    subject.look()
    assert told("stream-shrunk") == 0
    return subject


def as_contract(url: str) -> list[tuple[Any, ...]]:
    """Return what a plain client finds, as `SinkContract` compares it."""
    return contract_of(oracle.in_redis(url))


def contract_of(entries: Iterable[Mapping[bytes, bytes]]) -> list[tuple[Any, ...]]:
    """Return entries as `SinkContract` compares them."""
    return [
        (
            entry[b"id"].decode(),
            entry[b"type"].decode(),
            entry[b"source"].decode(),
            entry[b"subject"].decode() if b"subject" in entry else None,
            None,
            int(entry[b"time"]) if b"time" in entry else None,
            entry[b"data"],
            entry.get(b"content_type", b"application/json").decode(),
        )
        for entry in entries
    ]
