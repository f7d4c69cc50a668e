"""The examples do what they say, on streams that a real bridge has filled with the events of real workers."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery.events.state import State
from confluent_kafka import Producer

from celery_event_bridge.reader import open_reader
from tests.support import oracle, workers
from tests.support.bridges import clean_environment, dying_with_us
from tests.support.servers import Kafka, RabbitMQ, Redis
from tests.support.servers.debian import ROOT, until
from tests.support.servers.postgresql import postgresql
from tests.support.stores import FULL

TASKS = 400
KINDS = ["sqlite", "redis", "kafka"]
EXAMPLES = ["alerts", "billing", "live_state", "plain_kafka", "plain_redis"]
WITHOUT_OURS = "import runpy, sys; sys.modules['celery_event_bridge'] = sys.modules['celery_event_sinks'] = None; "
"""Whoever imports one of them gets an ImportError."""


@pytest.fixture(scope="module")
def run(
    rabbitmq_server: RabbitMQ, redis_server: Redis, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[workers.Run]:
    with workers.run(rabbitmq_server, redis_server, kafka_server, tmp_path_factory.mktemp("run"), TASKS) as done:
        yield done


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts examples as a user does; what they print goes to a file beside their number."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        command = ["-m", f"examples.{name}"]
        if name.startswith("plain"):
            command = ["-c", WITHOUT_OURS + f"runpy.run_module('examples.{name}', run_name='__main__')"]
        with (tmp_path / f"output-{len(started)}").open("w") as output:
            process = subprocess.Popen(
                dying_with_us([sys.executable, *command, *arguments]),
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for number, process in enumerate(started):
        process.kill()
        process.wait(60)
        print(f"{process.args[2]}:\n{(tmp_path / f'output-{number}').read_text()[-2000:]}")


def lines(folder: Path, number: int = 0) -> list[str]:
    return (folder / f"output-{number}").read_text().splitlines()


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


# Bills ------------------------------------------------------------------------------------------------------------


class Bills:
    """What is in the database, SQLite's or PostgreSQL's."""

    def __init__(self, database: str) -> None:
        self.database = database

    def ask(self, query: str) -> list[Any]:
        if self.database.startswith("postgresql:"):
            with psycopg.connect(self.database) as connection:
                return connection.execute(query).fetchall()
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def ids(self) -> list[str]:
        try:
            return [row[0] for row in self.ask("SELECT event_id FROM bills")]
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return []  # not there yet

    def prepare(self, *statements: str) -> None:
        if self.database.startswith("postgresql:"):
            with psycopg.connect(self.database) as connection:
                for statement in statements:
                    connection.execute(statement)
            return
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # so that looking at it takes no time
            for statement in statements:
                connection.execute(statement)
            connection.commit()


@pytest.fixture(scope="module")
def _postgresql() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def bills(request: pytest.FixtureRequest, tmp_path: Path) -> Bills:
    """With nothing in it."""
    if request.param == "sqlite":
        found = Bills(str(tmp_path / "bills.db"))
        found.prepare()
    else:
        found = Bills(request.getfixturevalue("_postgresql"))
        found.prepare("DROP TABLE IF EXISTS bills", "DROP TABLE IF EXISTS accounts")
    return found


def bill_with_a_crash(run: workers.Run, bills: Bills, start: Callable[..., subprocess.Popen[str]]) -> None:
    """Killed when it has billed something that is not committed in the stream; another one goes on."""
    stream = Path(run.urls["sqlite"].removeprefix("sqlite:///"))
    places = {row["id"]: row["seq"] for row in oracle.in_sqlite(stream)}
    group = f"billing-{uuid.uuid4().hex[:8]}"
    arguments = ["--from", run.urls["sqlite"], "--database", bills.database, "--group", group, "--lease", "0.5"]
    billing = start("billing", *arguments)

    def ahead() -> bool:
        """Whether it stands still now, with bills beyond its position."""
        if not bills.ids():
            return False
        billing.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(stream, timeout=20)) as connection:
            position = connection.execute("SELECT position FROM bridge_readers WHERE name = ?", (group,)).fetchone()[0]
        if any(places[event_id] > position for event_id in bills.ids()):
            return True
        billing.send_signal(signal.SIGCONT)
        return False

    until(ahead, 30, "something is billed and not committed", pause=0.001)
    assert 0 < len(bills.ids()) < len(run.of("task-succeeded")), "not in the middle"
    billing.kill()
    assert -signal.SIGKILL == billing.wait(60)
    assert 0 == start("billing", *arguments, "--once").wait(120)


def test_each_task_is_billed_once(
    run: workers.Run, bills: Bills, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Killed in the middle and started again; and the accounts say the same as the bills."""
    bill_with_a_crash(run, bills, start)
    billed = Counter(row[0] for row in bills.ask("SELECT task FROM bills"))
    assert Counter(run.of("task-succeeded")) == billed
    assert [(TASKS, True)] != bills.ask("SELECT sum(tasks), 1 FROM accounts")
    assert [(len(billed),)] == [(int(row[0]),) for row in bills.ask("SELECT sum(tasks) FROM accounts")]
    *_, said = lines(tmp_path, 1)  # before it, where the dead one's lease was waited for, a line that says so
    assert int(said.split(", ")[1].split()[0]) > 0, "none came again: it proves nothing"


def test_without_the_id_some_are_billed_twice(
    run: workers.Run, bills: Bills, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The same crash with a table that takes an id more than once: the stream alone does not bill once."""
    bills.prepare("CREATE TABLE bills (event_id TEXT, task TEXT, worker TEXT, seconds DOUBLE PRECISION)")
    bill_with_a_crash(run, bills, start)
    billed = Counter(row[0] for row in bills.ask("SELECT task FROM bills"))
    assert run.of("task-succeeded") == set(billed)
    assert max(billed.values()) == 2
    assert int(bills.ask("SELECT sum(tasks) FROM accounts")[0][0]) > len(billed)


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_two_groups_bill_into_one_database(
    run: workers.Run, kind: str, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """From Redis and Kafka, too: each event comes twice, once for each group, and is billed once."""
    bills = Bills(str(tmp_path / "bills.db"))
    for group in ("one", "two"):
        arguments = ["--from", run.urls[kind], "--database", bills.database, "--group", group, "--once"]
        assert 0 == start("billing", *arguments).wait(120)
    count = len(run.of("task-succeeded"))
    assert [f"{count} billed, 0 had been billed before"] == lines(tmp_path, 0)
    assert [f"0 billed, {count} had been billed before"] == lines(tmp_path, 1)
    assert [(count,)] == bills.ask("SELECT sum(tasks) FROM accounts")


# Alerts -----------------------------------------------------------------------------------------------------------


class Webhook(ThreadingHTTPServer):
    """Keeps what it has accepted: so many posts, and answers the others with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 503
        self.accepts = 0
        self.refused = 0
        self.texts: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        accepted = len(self.server.texts) < self.server.accepts
        if accepted:
            self.server.texts.append(json.loads(body)["text"])
        else:
            self.server.refused += 1
        self.send_response(200 if accepted else self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not here."""


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    with Webhook() as server:
        (tmp_path / "webhook").write_text(f"http://127.0.0.1:{server.server_port}/hook\n")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_each_failure_is_alerted(
    run: workers.Run, webhook: Webhook, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """None is left out while the webhook is away, nor when the example is killed meanwhile; few come twice."""
    arguments = ["--from", run.urls["sqlite"], "--webhook-file", str(tmp_path / "webhook"), "--since", "earliest"]
    arguments += ["--lease", "0.5"]
    failed = run.of("task-failed")
    first = start("alerts", *arguments)
    until(lambda: webhook.refused >= 2, 30, "it has been tried again")
    webhook.accepts = len(failed) // 2
    until(lambda: len(webhook.texts) == webhook.accepts, 30, "half of them are posted")
    refused = webhook.refused
    until(lambda: webhook.refused > refused, 30, "the webhook is away again")
    first.kill()
    first.wait(60)
    webhook.accepts = 1000
    second = start("alerts", *arguments)
    until(lambda: failed <= {text.rpartition(" ")[2] for text in webhook.texts}, 30, "every failure is posted")
    second.send_signal(signal.SIGTERM)
    assert 0 == second.wait(60)
    posted = Counter(text.rpartition(" ")[2] for text in webhook.texts)
    assert failed == set(posted)
    assert sum(posted.values()) <= len(failed) + 1
    assert all("Error(" in text for text in webhook.texts)
    # Those whose start was read by the one that was killed have no name any more.
    named = r"(examples\.demo\.tasks\.(refuse|deliver)|a task) failed on (prefork|threads)@"
    assert all(re.match(named, text) for text in webhook.texts)
    assert webhook.texts[0].startswith("examples.")


def test_a_webhook_that_refuses_is_not_tried_for_ever(
    run: workers.Run, webhook: Webhook, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """One line, exit code 1, nothing committed; the URL, a secret, is not in it."""
    webhook.status = 404
    arguments = ["--from", run.urls["sqlite"], "--webhook-file", str(tmp_path / "webhook"), "--since", "earliest"]
    assert 1 == start("alerts", *arguments, "--group", "refused").wait(90)
    (line,) = lines(tmp_path)
    assert line.startswith("alerts: the webhook refuses it: HTTP Error 404")
    assert "hook/" not in line
    assert 1 == webhook.refused
    webhook.accepts = 1000
    following = start("alerts", *arguments, "--group", "refused")
    until(lambda: len(webhook.texts) == len(run.of("task-failed")), 30, "all are posted, the first one too")
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
