"""`tap` beside a bridge: it sees what is published, and takes nothing away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, clean_environment, run_to_end
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import ROOT, until
from tests.support.stores import SqliteStore


@pytest.fixture
def start_tap() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts it and returns when its queue is there; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(rabbitmq: RabbitMQ, url: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery_event_bridge", "tap", *arguments],
            cwd=ROOT,
            env=clean_environment() | {"BRIDGE_BROKER_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        until(lambda: taps(rabbitmq, url), 20, "it looks")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=120)


def taps(rabbitmq: RabbitMQ, url: str) -> list[str]:
    """The queues of those that look."""
    listed = rabbitmq.ctl("list_queues", "-p", url.rpartition("/")[2], "name", "consumers")
    return [line for line in listed.splitlines() if ".tap." in line and line.endswith("1")]


def test_nothing_is_taken_away(
    start_bridge: Callable[..., Bridge],
    start_tap: Callable[..., subprocess.Popen[str]],
    own_rabbitmq: RabbitMQ,
    tmp_path: Path,
) -> None:
    """The bridge stores every event, the two that look see every event, and their queues are gone with them."""
    url, store = own_rabbitmq.new_vhost(), SqliteStore(tmp_path)
    start_bridge(BRIDGE_BROKER_URL=url, **store.settings).await_ready()
    first = start_tap(own_rabbitmq, url, "--format", "json", "-n", "20")
    second = start_tap(own_rabbitmq, url, "--format", "json")
    messages = oracle.numbered(0, 20)
    oracle.publish(url, messages)
    until(lambda: store.count() == 20, 20, "all is stored")
    text, complaint = first.communicate(timeout=120)
    assert (0, "") == (first.returncode, complaint)
    seen = [json.loads(line) for line in text.splitlines()]
    assert {json.dumps(json.loads(message.body)) for message in messages} == {json.dumps(one["data"]) for one in seen}
    assert {row["id"] for row in oracle.in_sqlite(store.path)} == {one["id"] for one in seen}
    assert second.stdout is not None
    for _ in messages:
        assert second.stdout.readline()
    second.send_signal(signal.SIGINT)
    assert (0, ("", "")) == (second.wait(60), second.communicate(timeout=120))
    until(lambda: not taps(own_rabbitmq, url), 20, "their queues are gone")


def test_what_is_asked_for_is_printed(start_tap: Callable[..., subprocess.Popen[str]], own_rabbitmq: RabbitMQ) -> None:
    """Of lists each event that matches; what a bridge parks is said."""
    url = own_rabbitmq.new_vhost()
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", BRIDGE_BROKER_URL=url).returncode
    process = start_tap(own_rabbitmq, url, "--worker", "w1", "--type", "task-*", "-n", "2")
    sample = oracle.numbered(0, 1)[0]
    one = {"type": "task-started", "hostname": "w1", "uuid": "a"}
    other, beat = one | {"hostname": "w2"}, {"type": "worker-heartbeat", "hostname": "w1"}
    bodies = [b"nonsense", json.dumps([one, other, beat]).encode(), json.dumps(one | {"uuid": "b"}).encode()]
    oracle.publish(url, [sample._replace(body=body) for body in bodies])
    text, complaint = process.communicate(timeout=120)
    assert (0, 2) == (process.returncode, len(text.splitlines())), complaint
    assert ["a", "b"] == [line.split()[4] for line in text.splitlines()]
    assert "celery-event-bridge: a message that a bridge parks: undecodable: " in complaint


def test_where_nothing_can_be_looked_at_that_is_said(broker_url: str) -> None:
    """One line, and exit code 1: no exchange yet, no broker."""
    done = run_to_end("celery_event_bridge", "tap", BRIDGE_BROKER_URL=broker_url)
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "exchange 'celeryev' is not there yet: a worker, or `queues declare`, makes it" in done.stderr
    done = run_to_end("celery_event_bridge", "tap", BRIDGE_BROKER_URL="amqp://u:sesame@127.0.0.1:1//")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "cannot connect" in done.stderr
    assert "sesame" not in done.stderr


def test_a_reader_that_goes_away_ends_it(
    start_tap: Callable[..., subprocess.Popen[str]], own_rabbitmq: RabbitMQ
) -> None:
    """`tap | head -1` ends without a word, though no event comes any more."""
    url = own_rabbitmq.new_vhost()
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", BRIDGE_BROKER_URL=url).returncode
    process = start_tap(own_rabbitmq, url)
    oracle.publish(url, oracle.numbered(0, 1))
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert 0 == process.wait(60)
    assert process.stderr is not None
    assert "" == process.stderr.read()
