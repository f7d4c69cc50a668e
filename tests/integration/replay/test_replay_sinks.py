"""`replay` from one stream into another: the same records, through the sink, with what it refuses told."""

from __future__ import annotations

import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import JSON, Event
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reader import open_reader
from tests.support.bridges import run_to_end
from tests.support.replaying import happened, ids, replay, start_replay
from tests.support.servers import Kafka, Redis, redis
from tests.support.servers.debian import until
from tests.support.stores import FULL
from tests.support.streams import captured, in_kafka, in_sqlite, some

COUNT = 200_000 if FULL else 5_000


def stored(url: str) -> list[tuple[Any, ...]]:
    """All that a reader finds of each record."""
    with open_reader(url, follow=False) as events:
        return [(e.id, e.type, e.source, e.subject, e.time, e.data, e.content_type, e.problem) for e in events]


def by_key(events: Sequence[tuple[Any, ...]]) -> dict[str, list[str]]:
    """The ids of each task or worker, in order."""
    found = defaultdict(list)
    for event_id, _, source, subject, *_ in events:
        found[subject or source].append(event_id)
    return found


def test_once_around(tmp_path: Path, kafka_server: Kafka, redis_url: str) -> None:
    """SQLite to Kafka to Redis to SQLite: every event is there, with id, bytes, time, and its key's order."""
    (tmp_path / "first").mkdir()
    (tmp_path / "last").mkdir()
    first, last = in_sqlite(tmp_path / "first"), in_sqlite(tmp_path / "last")
    kafka = in_kafka(kafka_server)
    events: list[Event] = [*captured(), *happened(COUNT, tasks=400), *some(10)]
    first.write(events)
    way = [first.url, kafka.url, redis_url, last.url]
    for source, target in pairwise(way):
        done = replay("--from", source, "--to", target)
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.startswith(f"{len(events)} events sent to {target} in ")
    before, after = stored(first.url), stored(last.url)
    assert len(events) == len(after)
    assert {event[0]: event for event in before} == {event[0]: event for event in after}
    assert by_key(before) == by_key(after)
    assert ids(events) == [event[0] for event in before]
    kafka.sink.close()


def test_a_copy_goes_on(tmp_path: Path, redis_url: str) -> None:
    """Stopped and run again into Redis: nothing is missing, nothing is there twice."""
    stream = in_sqlite(tmp_path)
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    arguments = ["--from", stream.url, "--to", redis_url, "--group", "copy"]
    process = start_replay(*arguments, "--speed", "1")
    with Client.from_url(redis_url) as client:
        until(lambda: client.xlen("celery-events") > 300, 30, "some are copied", pause=0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert 130 == process.returncode
    assert 300 < len(stored(redis_url)) < COUNT
    assert 0 == replay(*arguments).returncode
    with Client.from_url(redis_url) as client:
        assert [event.id.encode() for event in events] == [
            fields[b"id"] for _, fields in client.xrange("celery-events")
        ]


def test_an_outage_of_the_sink(tmp_path: Path, own_redis: Redis) -> None:
    """It is waited out, and said; every event is there at the end, in order."""
    stream = in_sqlite(tmp_path)
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    process = start_replay("--from", stream.url, "--to", own_redis.url, "--speed", "1")
    with own_redis.client() as client:
        until(lambda: client.xlen("celery-events") > 300, 30, "some are copied", pause=0.02)
    own_redis.kill()
    assert process.stderr is not None
    assert "unavailable, trying again" in process.stderr.readline()
    own_redis.start()
    _, complaint = process.communicate(timeout=180)
    assert 0 == process.returncode, complaint
    found = list(dict.fromkeys(event[0] for event in stored(own_redis.url)))
    assert ids(events) == found


def test_what_the_sink_refuses(tmp_path: Path, own_redis: Redis) -> None:
    """A line for each, the others are stored, and it exits 1."""
    stream = in_sqlite(tmp_path)
    small, large = some(20), some(1, 100)[0]
    body = large.data[:-1] + b',"x":"' + b"x" * 2_000_000 + b'"}'
    large = decode(body, JSON, {}).events[0]
    stream.write([*small[:10], large, *small[10:]])
    with own_redis.client() as client:
        client.config_set("proto-max-bulk-len", 1024 * 1024)
    done = replay("--from", stream.url, "--to", own_redis.url, "--group", "copy")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert f"not sent: event {large.id}: over the server's proto-max-bulk-len" in done.stderr
    assert done.stdout.startswith("20 events sent")
    assert "1 could not be sent" in done.stdout
    assert ids(small) == [event[0] for event in stored(own_redis.url)]


def test_not_into_itself(tmp_path: Path, kafka_server: Kafka, redis_server: Redis) -> None:
    """By whatever name the stream is called."""
    stream = in_sqlite(tmp_path)
    stream.write(some(3))
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "events.db")
    kafka = in_kafka(kafka_server)
    host, _, topic = kafka.url.removeprefix("kafka://").partition("/")
    pairs = [
        (stream.url, f"sqlite:///{link}"),
        (stream.url, f"sqlite:///{os.path.relpath(tmp_path / 'events.db')}"),
        (kafka.url, f"kafka://{host.replace('127.0.0.1', 'localhost')}/{topic}"),
        (redis_server.url, redis_server.url.replace("127.0.0.1", "localhost") + "?stream=celery-events"),
    ]
    for source, target in pairs:
        done = replay("--from", source, "--to", target)
        assert (2, "") == (done.returncode, done.stdout), target
        assert "it is the stream that is read" in done.stderr
    kafka.sink.close()
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / "events.db", copy)
    assert 0 == replay("--from", stream.url, "--to", f"sqlite:///{copy}", "--since", "9999999999d").returncode


def test_not_from_a_replica_into_its_master(own_redis: Redis) -> None:
    """They are one stream, though two processes that name themselves otherwise."""
    with redis(own=True) as replica, closing(Client.from_url(replica.url)) as client:
        parts = urlsplit(own_redis.url)
        client.replicaof(parts.hostname, parts.port)
        until(lambda: client.info("replication")["master_link_status"] == "up", 20, "it is a replica")
        done = replay("--from", replica.url, "--to", own_redis.url)
        assert (2, "") == (done.returncode, done.stdout)
        assert "it is the stream that is read" in done.stderr


def test_kafka_keeps_them_for_less_than_their_age(tmp_path: Path, kafka_server: Kafka) -> None:
    """They are kept from now on, and have their own times for readers, so that a copy of the copy is the same."""
    stream = in_sqlite(tmp_path)
    events = happened(3)
    stream.write(events)
    for retention in ("7d", "never"):
        target = f"kafka://{kafka_server.bootstrap}/kept-{retention}-{os.getpid()}"
        done = replay("--from", stream.url, "--to", target, BRIDGE_KAFKA_RETENTION=retention)
        assert 0 == done.returncode, done.stderr
        assert "removes events" not in done.stderr
        with open_reader(target, follow=False) as reader:
            assert {(one.id, one.time) for one in events} == {(one.id, one.record.time) for one in reader}


def test_a_sink_that_is_not_there(tmp_path: Path) -> None:
    """One line of an error, no password, exit code 1."""
    stream = in_sqlite(tmp_path)
    stream.write(some(3))
    done = run_to_end(
        "tests.support.impatient", "replay", "--from", stream.url, "--to", "redis://:sesame@127.0.0.1:1/0"
    )
    assert (1, "") == (done.returncode, done.stdout)
    assert "Redis at 127.0.0.1:1: " in done.stderr.splitlines()[-1]
    assert "sesame" not in done.stderr
    nowhere = run_to_end(
        "tests.support.impatient", "replay", "--from", stream.url, "--to", f"sqlite:///{tmp_path}/no/x.db"
    )
    assert (1, "") == (nowhere.returncode, nowhere.stdout)
    assert "its directory has to be there" in nowhere.stderr.splitlines()[-1]


@pytest.mark.parametrize("target", ["redis://localhost:x/0", "kafka://u:p@h/t", "sqlite://x", "stdout://x"])
def test_no_such_stream(target: str) -> None:
    """One line that names what was given."""
    done = replay("--from", "sqlite:///x.db", "--to", target)
    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "--to " in done.stderr
