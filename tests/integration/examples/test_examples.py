"""The examples do what they say, on streams that a real bridge has filled with the events of real workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.events.state import State
from confluent_kafka import Producer

from celery_event_bridge.reader import open_reader
from tests.support import oracle, workers
from tests.support.bridges import clean_environment
from tests.support.example_runs import TASKS, lines
from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import ROOT, until
from tests.support.stores import FULL

KINDS = ["sqlite", "redis", "kafka"]
EXAMPLES = ["alerts", "billing", "live_state", "plain_kafka", "plain_redis"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_explains_itself(name: str) -> None:
    """What it does and how it is called."""
    command = [sys.executable, "-m", f"examples.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    assert f"python -m examples.{name} --" in done.stdout


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    """A stream, a database or a webhook that cannot be."""
    (tmp_path / "webhook").write_text("no URL")
    for arguments in (
        ["billing", "--from", "ftp://x", "--database", ":memory:"],
        ["billing", "--from", f"sqlite:///{tmp_path}/x.db", "--database", "/nowhere/bills.db"],
        ["billing", "--from", f"sqlite:///{tmp_path}/x.db", "--database", "postgresql://127.0.0.1:9/x"],
        ["live_state", "--since", "yesterday"],
        ["alerts", "--webhook-file", str(tmp_path / "missing")],
        ["plain_redis", "--url", "redis://127.0.0.1:9/0"],
    ):
        command = [sys.executable, "-m", f"examples.{arguments[0]}", *arguments[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=clean_environment())
        assert (1, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
        assert done.stderr.startswith(f"{arguments[0]}: ")


# The state --------------------------------------------------------------------------------------------------------


def facts(state: State) -> dict[str, Any]:
    """What has to be the same of a state that was built live and one that was built from the stream."""
    times = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected")
    others = ("name", "state", "result", "exception", "traceback", "runtime", "retries", "args", "kwargs")
    return {
        "workers": sorted(state.workers),
        "tasks": {
            task.uuid: {name: getattr(task, name) for name in (*times, *others)}
            | {"worker": task.worker and task.worker.hostname, "client": task.client}
            for task in state.tasks.values()
        },
    }


def from_stream(url: str, **options: Any) -> State:
    state = State()
    with open_reader(url, follow=False, **options) as events:
        for event in events:
            state.event(event.as_celery())
    return state


@pytest.mark.parametrize("kind", KINDS if FULL else ["kafka"])
def test_a_state_from_the_stream_is_the_live_one(run: workers.Run, kind: str) -> None:
    """Celery's `State` fed from the stream equals the one that its own receiver fed: two workers, every kind of end.

    Each task's name, state, times, result, exception and worker; the workers' names.
    """
    live = facts(run.live)
    # RETRY too, where a busy worker tells of the next try before it tells of this one.
    assert {"SUCCESS", "FAILURE", "REVOKED"} <= set(workers.kinds(run.live))
    assert any(task["retried"] for task in live["tasks"].values())
    assert len(live["tasks"]) == TASKS
    assert len(live["workers"]) == 2
    assert live == facts(from_stream(run.urls[kind]))
    # And it would have been noticed.
    assert live != facts(from_stream(run.urls[kind], types="!task-retried"))


def test_live_state_shows_it(run: workers.Run, start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """The example counts the tasks and workers that the live one has; and goes on showing until it is stopped."""
    arguments = ["--from", run.urls["redis"], "--since", "earliest"]
    assert 0 == start("live_state", *arguments, "--once", "--format", "json").wait(90)
    (line,) = lines(tmp_path)
    found = json.loads(line)
    assert workers.kinds(run.live) == found["tasks"]
    assert sorted(run.live.workers) == sorted(found["workers"])
    assert all(worker["alive"] for worker in found["workers"].values())
    following = start("live_state", *arguments, "--every", "0.2")
    success = f"{workers.kinds(run.live)['SUCCESS']:8}"
    until(lambda: sum("SUCCESS" in row and success in row for row in lines(tmp_path, 1)) > 2, 30, "several snapshots")
    following.send_signal(signal.SIGTERM)
    assert 0 == following.wait(60)


# Plain clients ----------------------------------------------------------------------------------------------------


def published(folder: Path, *numbers: int) -> list[dict[str, Any]]:
    return [json.loads(line) for number in numbers for line in lines(folder, number)]


def test_plain_kafka(
    run: workers.Run, kafka_server: Kafka, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Without a line of ours it writes each event once, also where the topic has a copy, and goes on where it was."""
    topic = run.urls["kafka"].rpartition("/")[2]
    records = oracle.in_kafka(kafka_server.bootstrap, topic)
    producer = Producer({"bootstrap.servers": kafka_server.bootstrap})
    for record in records[:5]:  # what a redelivery leaves behind
        producer.produce(topic, record.value, record.key, record.partition, headers=list(record.headers.items()))
    assert 0 == producer.flush(20)
    wanted = {record.headers["ce_id"].decode() for record in records}
    arguments = ["--bootstrap-servers", kafka_server.bootstrap, "--topic", topic, "--group", f"report-{topic}"]
    first = start("plain_kafka", *arguments)
    until(lambda: len(lines(tmp_path)) >= len(wanted), 40, "all are written")
    first.send_signal(signal.SIGTERM)
    assert 0 == first.wait(60)
    before = {one["id"] for one in published(tmp_path, 0)}
    second = start("plain_kafka", *arguments)
    (extra,) = records[-1:]
    headers = extra.headers | {"ce_id": b"0" * 32}
    producer.produce(topic, extra.value, extra.key, extra.partition, headers=list(headers.items()))
    assert 0 == producer.flush(20)
    until(lambda: any("0" * 32 in line for line in lines(tmp_path, 1)), 40, "what came later is written, too")
    second.send_signal(signal.SIGTERM)
    assert 0 == second.wait(60)
    found = [one for one in published(tmp_path, 0, 1) if one["id"] != "0" * 32]
    assert {1} == set(Counter(one["id"] for one in found).values())
    assert wanted <= before | {one["id"] for one in found}
    succeeded = {one["task"] for one in found if one["type"] == "task-succeeded"}
    assert run.of("task-succeeded") == succeeded
    assert all(one["data"]["type"] == one["type"] and one["data"]["hostname"] == one["worker"] for one in found)


def test_plain_redis(
    run: workers.Run, redis_server: Redis, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The same from Redis; what a consumer that died had in hand is taken over, and a copy is nobody's."""
    stream, group = run.urls["redis"].rpartition("=")[2], "report"
    entries = oracle.in_redis(redis_server.url, stream)
    wanted = {entry[b"id"].decode() for entry in entries}
    with redis_server.client() as client:
        for entry in entries[:5]:
            client.xadd(stream, entry)
        client.xgroup_create(stream, group, id="0")
        ((_, held),) = client.xreadgroup(group, "dead", {stream: ">"}, count=50)
        assert 50 == len(held)
        arguments = ["--url", redis_server.url, "--stream", stream, "--group", group, "--dead-after", "4"]
        consumers = [start("plain_redis", *arguments) for _ in range(2)]
        until(lambda: len(lines(tmp_path, 0)) + len(lines(tmp_path, 1)) >= len(wanted), 40, "all are written")
        until(lambda: client.xpending(stream, group)["pending"] == 0, 20, "all is acknowledged")
        for consumer in consumers:
            consumer.send_signal(signal.SIGTERM)
            assert 0 == consumer.wait(60)
        client.delete(*client.scan_iter(f"{stream}:{group}:*", count=5000))
    found = published(tmp_path, 0, 1)
    counts = Counter(one["id"] for one in found)
    assert wanted <= set(counts)
    assert {1} == set(counts.values())
    assert run.of("task-failed") == {one["task"] for one in found if one["type"] == "task-failed"}
