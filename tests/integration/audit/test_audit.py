"""`audit` on real streams, of real workers, beside a live system, and as a service."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.decode import decode
from tests.integration.reading.test_reader import Stream, in_kafka, in_redis, in_sqlite
from tests.integration.reading.test_tail import captured
from tests.support.audited_app import Client, Tap, Worker
from tests.support.bridges import Bridge, clean_environment, run_to_end
from tests.support.servers.debian import ROOT, until
from tests.support.stores import FULL
from tests.support.worker_events import SECOND, Sender, without

KINDS = ("prefork", "threads", "solo")


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stream]:
    """Each kind in turn, with nothing in it."""
    if request.param == "sqlite":
        made = in_sqlite(tmp_path)
    elif request.param == "redis":
        made = in_redis(request.getfixturevalue("redis_url"))
    else:
        made = in_kafka(request.getfixturevalue("kafka_server"))
    yield made
    made.sink.close()


def audit(*arguments: str, module: str = "celery_event_bridge", **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end(module, "audit", *arguments, **settings)


def report(stream: Stream, *arguments: str, settle: str = "0") -> dict[str, Any]:
    """The JSON; its exit code says what it says."""
    done = audit("--from", stream.url, "--format", "json", "--settle", settle, *arguments)
    assert "" == done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert int(found["missing"]) == done.returncode
    return found


def events(sent: list[dict[str, Any]]) -> list[Event]:
    """As the bridge would store them."""
    return [decode(json.dumps(one).encode(), "application/json", {}).events[0] for one in sent]


def fleet(tasks: int, workers: int = 4, minutes: int = 30) -> list[dict[str, Any]]:
    """Workers with heartbeats every 2 s, and so many tasks in all, in the order of time; the last minute was now."""
    sent: list[dict[str, Any]] = []
    beats = minutes * 30
    for number in range(workers):
        sender = Sender(f"w{number}@test", 100 + number, at=round(time.time() * 1e6) - (minutes + 8) * 60 * SECOND)
        sender.beat("worker-online")
        share = tasks // workers
        for beat in range(beats):
            for _ in range(share * (beat + 1) // beats - share * beat // beats):
                sender.run(f"{sender.name}-{sender.clock}")
            sender.beat()
        sender.beat("worker-offline")
        sent += sender.events
    return sorted(sent, key=lambda one: float(one["timestamp"]))


def remove(sent: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Counter[tuple[str, str]]]]:
    """37 starts, 10 ends and 10 receiveds, of different tasks; what is left, and the worker and minute of each gone."""
    gone: dict[str, Counter[tuple[str, str]]] = {}
    total = sum(one["type"] == "task-started" for one in sent)
    every = {"task-started": 37, "task-succeeded": 10, "task-received": 10}
    for offset, (kind, count) in enumerate(every.items()):
        places = [total // 10 + offset + place * (total * 8 // 10 // count) for place in range(count)]
        some = [one for one in sent if one["type"] == kind]
        gone[kind] = Counter((some[place]["hostname"], minute(some[place]["timestamp"])) for place in places)
        sent = without(sent, kind, places)
    return sent, gone


def by_workers(counts: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter(worker for worker, _ in counts.elements())


def minute(timestamp: float | str) -> str:
    moment = (
        datetime.fromtimestamp(timestamp, UTC) if isinstance(timestamp, float) else datetime.fromisoformat(timestamp)
    )
    return moment.astimezone().strftime("%H:%M")


def test_what_was_removed_from_fifty_thousand_events(tmp_path: Path) -> None:
    """37 starts by worker, count and minute; 10 ends and 10 receiveds under their own headings; else nothing."""
    stream = in_sqlite(tmp_path)
    whole = fleet(15_500)
    assert len(whole) > 50_000
    kept, gone = remove(whole)
    stream.write(events(kept))
    found = report(stream)
    tasks_found = found["tasks"]
    minutes: Counter[tuple[str, str]] = Counter()
    for stretch in found["account"]["stretches"]:
        minutes[stretch["worker"], minute(stretch["until"])] += stretch["missing"]
    # A stretch of 2 s may lie across the turn of a minute.
    edges = sum((minutes - gone["task-started"]).values())
    assert (37, len(kept)) == (found["account"]["missing"], found["events"]["count"])
    assert edges <= 3
    assert by_workers(gone["task-started"]) == Counter(found["account"]["by_worker"])
    assert 37 == tasks_found["starts_missing"]["missing"]
    assert 10 == tasks_found["received_missing"]["missing"]
    received = Counter((one["worker"], minute(one["time"])) for one in tasks_found["received_missing"]["tasks"])
    # The time is of the event that came next: perhaps after the turn of a minute.
    assert sum((received - gone["task-received"]).values()) <= 3
    assert by_workers(gone["task-received"]) == by_workers(received)
    ended = [one for one in tasks_found["without_end"] if one["state"] == "ended"]
    assert (10, 10) == (len(ended), tasks_found["ends_missing"]["in_all"])
    assert Counter(worker for worker, _ in gone["task-succeeded"].elements()) == Counter(one["worker"] for one in ended)
    assert 0 == tasks_found["perhaps_before"]["missing"]


def test_nothing_is_missing_from_fifty_thousand_events(tmp_path: Path) -> None:
    """The same stream, untouched."""
    stream = in_sqlite(tmp_path)
    whole = fleet(15_500)
    stream.write(events(whole))
    found = report(stream)
    assert (False, 0, []) == (found["missing"], found["account"]["missing"], found["tasks"]["without_end"])


def test_the_streams_say_the_same(stream: Stream, tmp_path: Path) -> None:
    """Kafka, Redis and SQLite: only the delays are their own."""
    kept, _ = remove(fleet(800))
    kept += kept[50:60]
    kept[100], kept[101] = kept[101], kept[100]
    (tmp_path / "reference").mkdir()
    reference = in_sqlite(tmp_path / "reference")
    for one in (stream, reference):
        one.write(events(kept))
    here, there = report(stream), report(reference)
    for one in (here, there):
        for name in ("since", "until", "judged_until", "delays", "duplicates", "inversions"):
            del one[name]  # SQLite stores nothing twice; Kafka has an order within a partition only
        for task in one["tasks"]["without_end"]:
            del task["seconds"]
    assert there == here
    assert 37 == here["account"]["missing"]


@pytest.mark.timeout(1200 if FULL else 400)
def test_workers_come_and_go(broker_url: str, tmp_path: Path, start_bridge: Callable[..., Bridge]) -> None:
    """Nothing is missing of prefork, threads and solo workers, stopped and killed at work, but what they threw away.

    Celery does not publish what it holds back for the next turn of its loop when it is stopped: in 6 of about 150 stops
    at work an event was missing for that, and `audit` has to say so. A queue of its own tells what was published.
    """
    stream = in_sqlite(tmp_path)
    file = stream.url.removeprefix("sqlite:///")
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, BRIDGE_SQLITE_PATH=file).await_ready()
    client, tap = Client(broker_url), Tap(broker_url)
    count = 1500 if FULL else 60

    def workers() -> list[Worker]:
        return [Worker(broker_url, tmp_path / f"{pool}.log", pool, f"{pool}@audited", queue=pool) for pool in KINDS]

    def done(total: int) -> bool:
        ends = Counter(one["worker"] for one in stored(stream) if one["type"] in {"task-succeeded", "task-failed"})
        return all(ends[f"{pool}@audited"] >= total for pool in KINDS)  # so that each is at work

    running: list[Worker] = []
    try:
        for pool in KINDS:
            client.mixed(count, pool)
        running = workers()
        for round_number, killed in enumerate(KINDS if FULL else ["prefork"]):
            until(lambda at=round_number * count + count // 3: done(at), 90, "a third is done")
            end(running, [worker for worker in running if worker.name == f"{killed}@audited"])
            for pool in KINDS:
                client.mixed(count, pool)
            running = workers()
        until(lambda: not client.waiting(KINDS), 60, "nothing waits any more")
        end(running, [])
        until(lambda: not client.waiting(["celeryev.bridge"]), 20, "the bridge has taken all")
        published = tap.read()
    finally:
        for worker in running:
            worker.kill()
        client.close()
        tap.close()
    assert 0 == bridge.stop()
    rows = stored(stream)
    # A publisher whose confirm is late sends again: the same bytes, which SQLite has once.
    assert set(map(name_of, published)) == {name_of(json.loads(row["data"])) for row in rows}
    found = report(stream)
    assert Counter(one["type"] for one in rows)["worker-offline"] >= 3
    account, thrown = found["account"], thrown_away(published)
    lost = Counter(account["by_worker"])
    assert lost <= thrown, (account, thrown)
    assert (bool(lost), lost.total()) == (found["missing"], account["missing"])
    assert {f"{pool}@audited" for pool in KINDS} <= set(found["events"]["by_worker"])
    starts = found["events"]["by_type"]["task-started"]
    assert starts >= 6 * count
    # The negative control: of what real workers sent, too, what is taken away is missed.
    take_away(stream, "task-started", "threads@audited", 2)
    again = report(stream)
    lost["threads@audited"] += 2
    assert (lost, True) == (again["account"]["by_worker"], again["missing"])


def name_of(event: dict[str, Any]) -> tuple[object, ...]:
    """Which one it is."""
    return event["hostname"], event["pid"], event["clock"], event["type"]


def thrown_away(published: list[dict[str, Any]]) -> Counter[str]:
    """By worker: how far the last counts of its processes are ahead of the task-started that they had published."""
    thrown: Counter[str] = Counter()
    processes = {(event["hostname"], event["pid"]) for event in published if "processed" in event}
    for worker, pid in processes:
        own = [event for event in published if (event["hostname"], event["pid"]) == (worker, pid)]
        last = max((event for event in own if "processed" in event), key=itemgetter("clock"))
        starts = sum(1 for event in own if event["type"] == "task-started" and event["clock"] < last["clock"])
        thrown[worker] += max(0, last["processed"] - starts)
    return thrown


def end(workers: list[Worker], killed: list[Worker]) -> None:
    """Kill some, and stop the others warmly, all at once."""
    for worker in workers:
        if worker in killed:
            worker.kill()
        else:
            worker.process.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.await_end()


def stored(stream: Stream) -> list[dict[str, str]]:
    import sqlite3

    connection = sqlite3.connect(stream.url.removeprefix("sqlite:///"))
    try:
        rows = connection.execute("SELECT type, source, data FROM events").fetchall()
        return [{"type": kind, "worker": source, "data": data} for kind, source, data in rows]
    finally:
        connection.close()


def take_away(stream: Stream, kind: str, worker: str, count: int) -> None:
    """The last ones but 5, which a heartbeat is sure to have counted."""
    import sqlite3

    connection = sqlite3.connect(stream.url.removeprefix("sqlite:///"))
    wanted = "SELECT seq FROM events WHERE type = ? AND source = ? ORDER BY seq DESC LIMIT ? OFFSET 5"
    with connection:
        connection.execute(f"DELETE FROM events WHERE seq IN ({wanted})", (kind, worker, count))
    connection.close()


def test_the_live_system_is_asked(
    broker_url: str, redis_url: str, tmp_path: Path, start_bridge: Callable[..., Bridge]
) -> None:
    """What has become of a task that runs, of one whose end is gone from the stream, and of one nobody knows."""
    stream = in_sqlite(tmp_path)
    file = stream.url.removeprefix("sqlite:///")
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, BRIDGE_SQLITE_PATH=file).await_ready()
    client = Client(broker_url, redis_url)
    worker = Worker(broker_url, tmp_path / "worker.log", backend=redis_url)
    try:
        ended, runs = client.send("add", 1, 2), client.send("nap", 60)
        until(lambda: Counter(one["type"] for one in stored(stream))["task-started"] == 2, 30, "both have begun")
        until(lambda: Counter(one["type"] for one in stored(stream))["task-succeeded"] == 1, 30, "one has ended")
        lost = Sender("gone@test").start("nobody-knows-me")
        lost["timestamp"] = time.time()
        stream.write(events([lost]))
        take_all(stream, "task-succeeded")
        before = Path(file).read_bytes()
        done = audit(
            *("--from", stream.url, "--settle", "0", "--format", "json", "--app", "tests.support.audited_app"),
            AUDITED_BROKER=broker_url,
            AUDITED_BACKEND=redis_url,
        )
        assert before == Path(file).read_bytes()
    finally:
        worker.kill()
        client.close()
        bridge.stop()
    found = json.loads(done.stdout)["tasks"]
    live = {one["uuid"]: one["live"] for one in found["without_end"]}
    assert "runs in w1@audited" == live[runs]
    assert live[ended].startswith("SUCCESS by its result, 20")
    assert "unknown" == live["nobody-knows-me"]
    assert ("1 workers have answered: w1@audited; results were read", 1, 1) == (
        found["asked"],
        found["ends_missing"]["in_all"],
        done.returncode,
    )


def take_all(stream: Stream, kind: str) -> None:
    import sqlite3

    connection = sqlite3.connect(stream.url.removeprefix("sqlite:///"))
    with connection:
        connection.execute("DELETE FROM events WHERE type = ?", (kind,))
    connection.close()


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("no.such.app", "--app no.such.app: it cannot be imported: "),
        ("tests.support.load", "--app tests.support.load: it"),
    ],
)
def test_an_app_that_is_none(tmp_path: Path, app: str, said: str) -> None:
    """One line, exit code 2."""
    stream = in_sqlite(tmp_path)
    done = audit("--from", stream.url, "--app", app)
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_live_system_that_is_away(tmp_path: Path) -> None:
    """The report says so, and says the rest."""
    stream = in_sqlite(tmp_path)
    sender = Sender(at=round(time.time() * 1e6))
    sender.receive("t")
    sender.start("t")
    stream.write(events(sender.events))
    done = audit(
        *("--from", stream.url, "--format", "json", "--app", "tests.support.audited_app"),
        AUDITED_BROKER="amqp://guest:sesame@127.0.0.1:1//",
        AUDITED_BACKEND="redis://:sesame@127.0.0.1:1/0",
    )
    found = json.loads(done.stdout)["tasks"]
    assert "workers could not be asked: " in found["asked"]
    assert "results could not be read: " in found["asked"]
    assert ("unknown", "sesame" in done.stdout + done.stderr) == (found["without_end"][0]["live"], False)


class Following:
    """`audit --follow` as a process."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.bridge = Bridge(
            log, {}, f"{sys.executable} -m celery_event_bridge audit --follow --log-format json {' '.join(arguments)}"
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.bridge.metric(f"audit_{name}", **labels)


def test_it_follows_and_serves_metrics(tmp_path: Path) -> None:
    """What goes missing is in the metrics and in the log; Ctrl-C is the end."""
    stream = in_sqlite(tmp_path)
    sender = Sender(at=round(time.time() * 1e6) - 120 * SECOND)
    sender.beat("worker-online")
    sender.work(5, 4)
    stream.write(events(without(sender.events, "task-started", [3, 4, 5])))
    following = Following(tmp_path / "audit.log", "--from", stream.url, "--since", "earliest", "--settle", "1s")
    bridge = following.bridge
    try:
        until(lambda: following.metric("missing_starts", worker="w1@test") == 3, 30, "three are missing")
        assert 17 == following.metric("events_total", type="task-started")
        assert 3 == following.metric("missing_events", event="task-started")
        assert (200, "ok\n") == bridge.get("/readyz")
        line = bridge.await_log("missing by the worker's own account")
        assert ("w1@test", 3) == (line["worker"], line["missing"])
        # What comes late is not missing any more.
        late = [one for one in sender.events if one["type"] == "task-started"][3:6]
        stream.write(events(late))
        until(lambda: following.metric("events_total", type="task-started") == 20, 30, "the late ones are counted")
        assert 0 == following.metric("missing_starts", worker="w1@test")
        bridge.process.send_signal(signal.SIGINT)
        assert 0 == bridge.process.wait(60)
        assert [] == bridge.logged("Traceback")
    finally:
        bridge.end()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--since", "someday"], 2, "--since='someday': expected an age such as 10m"),
        (["--until", "tomorrow"], 2, "--until='tomorrow': expected an age such as 10m"),
        (["--since", "1m", "--until", "2m"], 2, "--since 1m is not before --until 2m"),
        (["--settle", "soon"], 2, "--settle soon: expected seconds or a duration"),
        (["--follow", "--plot", "x.svg"], 2, "--plot: not together with --follow"),
        (["--plot", "/no/such/folder/x.svg"], 2, "--plot /no/such/folder/x.svg: cannot write it"),
        (["--from", "kafka://u:sesame@h/t"], 2, "kafka://u:**@h/t: user and password are settings"),
        (["--format", "xml"], 2, "'xml' is not one of 'table', 'json'"),
        (["--sink", "stdout"], 2, "BRIDGE_SINK=stdout: nothing is kept there"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    """One line, exit code 2, no password."""
    done = audit(*arguments, BRIDGE_SQLITE_PATH=str(tmp_path / "none.db"))
    assert (code, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("stored", "arguments", "said"),
    [
        (0, [], "nothing was read: the stream holds no event of this period"),
        (5, ["--until", "2020-01-01T00:00:00Z"], "nothing was read: the stream holds no event of this period"),
        (5, ["--worker", "nobody@*"], "nothing was read: the stream holds no event of this period and these workers"),
        (5, ["--settle", "1h"], "nothing was judged: all of the 5 events were stored too short a time ago (--settle)"),
    ],
    ids=["an empty stream", "another period", "other workers", "too young"],
)
def test_where_nothing_was_read_nothing_is_said_to_be_there(
    tmp_path: Path, stored: int, arguments: list[str], said: str
) -> None:
    """Exit code 3 and a sentence, for a cron job beside bridges that are down; 0 by --allow-empty."""
    stream = in_sqlite(tmp_path)
    sender = Sender(at=round(time.time() * 1e6) - 60 * SECOND)
    for _ in range(stored):
        sender.beat()
    stream.write(events(sender.events))
    done = audit("--from", stream.url, "--settle", "0", *arguments)
    assert done.returncode == 3
    assert f"celery-event-bridge: {said}" in done.stderr
    assert "nothing is missing" not in done.stdout
    allowed = audit("--from", stream.url, "--settle", "0", *arguments, "--allow-empty", "--format", "json")
    assert (0, "", False) == (allowed.returncode, allowed.stderr, json.loads(allowed.stdout)["judged"])
    stream.sink.close()


def test_a_stream_that_is_not_there(tmp_path: Path) -> None:
    """It is given up after a while."""
    done = audit("--from", f"sqlite:///{tmp_path}/none.db", module="tests.support.impatient")
    assert (1, "") == (done.returncode, done.stdout)
    assert "none.db: No such file or directory" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_events_as_they_were_captured(tmp_path: Path) -> None:
    """All is there but what Celery never sent: two tasks raised Ignore, one is of a task that sends no events."""
    stream = in_sqlite(tmp_path)
    stream.write(captured())
    picture = tmp_path / "delays.svg"
    found = report(stream, "--plot", str(picture))
    tasks = found["tasks"]
    assert ["app.ignore_it"] * 2 == [one["name"] for one in tasks["without_end"]]
    assert [0] * 4 == [tasks[f"{name}_missing"]["missing"] for name in ("starts", "received", "ends", "names")]
    assert (1, 2) == (found["account"]["missing"], tasks["ends_missing"]["in_all"])
    assert 0 == report(stream, "--task", "!app.ignore_it")["tasks"]["ends_missing"]["in_all"]
    assert not report(stream, "--worker", "!w1@vm")["missing"]
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_pipe_whose_reader_goes_away(tmp_path: Path, form: str) -> None:
    """`audit | head -1` ends without a word."""
    stream = in_sqlite(tmp_path)
    stream.write(events(fleet(400, workers=40, minutes=1)))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery_event_bridge",
            "audit",
            "--from",
            stream.url,
            "--settle",
            "0s",
            "--format",
            form,
        ],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (0, "") == (process.wait(90), process.stderr.read())
    process.stderr.close()


def test_an_interruption(tmp_path: Path) -> None:
    """Ctrl-C while it reads: no report, since half of one would alarm; exit code 130, without a word."""
    stream = in_sqlite(tmp_path)
    stream.write(events(fleet(20_000, minutes=5)))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.interrupted", "audit", "--from", stream.url],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (("", ""), 130) == (process.communicate(timeout=120), process.returncode)
