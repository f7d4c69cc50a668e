"""Celery's transport `filesystem` as the broker: a real worker, bridges that are killed, and the commands."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from celery_event_bridge.brokers.envelope import opened
from celery_event_bridge.brokers.kombu.connection import Link
from tests.support import oracle
from tests.support.bridges import Bridge, clean_environment, dying_with_us, run_to_end
from tests.support.folders import Folders, started_worker
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

APP = """
from celery import Celery

app = Celery("folder_app", broker="filesystem://")
app.conf.broker_transport_options = {options!r}
app.conf.task_send_sent_event = True


@app.task
def add(x, y):
    return x + y


if __name__ == "__main__":
    for number in range({count}):
        add.delay(number, 1)
"""
TASKS = 40


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A broker."""
    return Folders(tmp_path)


def test_a_workers_events_are_stored_as_a_witness_has_them(folders: Folders, tmp_path: Path) -> None:
    """Each event of a real worker and its client, byte for byte, with two bridges of which one is killed on the way."""
    app = tmp_path / "folder_app.py"
    app.write_text(APP.format(options=folders.options, count=TASKS))
    store = SqliteStore(tmp_path)
    witness = Link(folders.settings())
    witness.declare("witness")
    settings = store.settings | folders.variables
    bridges = [Bridge(tmp_path / f"bridge{number}.log", settings) for number in range(2)]
    worker = None
    try:
        for bridge in bridges:
            bridge.await_ready()
        worker = started_worker(app, tmp_path / "worker.log")
        command = [sys.executable, app.name]
        subprocess.run(command, cwd=tmp_path, env=clean_environment(), check=True, timeout=60, capture_output=True)
        until(lambda: count_of(store, "task-succeeded") >= TASKS // 4, 60, "some tasks have succeeded")
        bridges[0].kill()
        until(lambda: count_of(store, "task-succeeded") == TASKS, 60, "all tasks have succeeded")
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
        until(lambda: count_of(store, "worker-offline") == 1, 30, "the worker's last word is stored")
        until(lambda: not folders.waiting() and not folders.in_hand(), 30, "nothing is left in the queue")
        seen = [event for path in folders.waiting("witness") for event in events_in(path)]
        assert len(seen) >= 4 * TASKS
        assert sorted(seen) == sorted(json.dumps(json.loads(body)) for body in store.bodies())
        assert 0 == bridges[1].stop()
    finally:
        witness.close()
        for bridge in bridges:
            bridge.end()
        if worker is not None and worker.poll() is None:
            worker.kill()
            worker.wait(30)


def test_what_a_killed_bridge_had_in_hand_is_forwarded_by_the_next(folders: Folders, tmp_path: Path) -> None:
    """Files in its folder are found by its lock, and marked as delivered before; its folder is removed."""
    holder = (
        "import sys, time; from celery_event_bridge.brokers.kombu.plugin import FilesystemBroker as B;"
        "from celery_event_bridge.brokers.kombu.settings import Settings as S; from pathlib import Path;"
        "source = B(S(broker_url='filesystem://', broker_transport_options=sys.argv[1])).source(str);"
        "source.open(); source.consume(); print('bound', flush=True);"
        "found = []\nwhile len(found) < 5: found += source.poll(1)\nprint(len(found), flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", holder, json.dumps(folders.options)]
    with subprocess.Popen(dying_with_us(command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "bound\n" == process.stdout.readline()
        events = [event.body for event in oracle.numbered(0, 5)]
        folders.publish(events)
        assert "5\n" == process.stdout.readline()
        assert 5 == len(folders.in_hand())
        process.kill()
    store = SqliteStore(tmp_path)
    bridge = Bridge(tmp_path / "bridge.log", store.settings | folders.variables)
    try:
        until(lambda: store.count() == 5, 30, "all of them are stored")
        assert sorted(events) == sorted(store.bodies())
        assert 5 == bridge.metric("messages_redelivered_total")
        assert 1 == len([*(folders.messages / ".celeryev.bridge").iterdir()])
        assert 0 == bridge.stop()
        assert [] == [*(folders.messages / ".celeryev.bridge").iterdir()]
    finally:
        bridge.end()


def test_what_cannot_be_forwarded_is_looked_at_and_sent_again(folders: Folders, tmp_path: Path) -> None:
    """`rejected` lists, shows, requeues and purges; `queues` shows and removes; each in the folder alone."""
    store = SqliteStore(tmp_path)
    settings = store.settings | folders.variables
    bridge = Bridge(tmp_path / "bridge.log", settings)
    try:
        bridge.await_ready()
        event = oracle.numbered(0, 1)[0].body
        folders.publish([b"no event", event])
        until(lambda: folders.waiting("celeryev.bridge.rejected") and store.count() == 1, 30, "it is parked")
        assert "1 message: undecodable 1" in run_to_end("celery_event_bridge", "rejected", "list", **settings).stdout
        shown = run_to_end("celery_event_bridge", "rejected", "show", "--body", **settings)
        assert "no event" == shown.stdout
        assert "1 message parked in celeryev.bridge.rejected" in check(settings)
        in_use = run_to_end("celery_event_bridge", "queues", "remove", **settings)
        assert (1, "stop the bridges first" in in_use.stderr) == (in_use.returncode, True), in_use.stderr
        assert 0 == bridge.stop()
    finally:
        bridge.end()
    again = run_to_end("celery_event_bridge", "rejected", "requeue", "--all", **settings)
    assert "1 message sent again" in again.stdout, again.stderr
    assert (1, 0) == (len(folders.waiting()), len(folders.waiting("celeryev.bridge.rejected")))
    states = run_to_end("celery_event_bridge", "queues", "show", **settings)
    assert ["celeryev.bridge: 1 ready, 0 consumers", "celeryev.bridge.rejected: 0 ready, 0 consumers"] == (
        states.stdout.splitlines()
    )
    held = run_to_end("celery_event_bridge", "queues", "remove", **settings)
    assert "celeryev.bridge holds 1 message" in held.stderr
    removed = run_to_end("celery_event_bridge", "queues", "remove", "--force", **settings)
    assert 0 == removed.returncode, removed.stderr
    assert set() == folders.bound()
    assert [] == [*folders.messages.iterdir()]


def test_check_and_a_bridge_with_another_sink(folders: Folders, tmp_path: Path) -> None:
    """A folder that is missing fails; so does a bridge that would take events away from one that is there."""
    store = SqliteStore(tmp_path)
    settings = store.settings | folders.variables
    assert "not there yet, run will declare it" in check(settings)
    bridge = Bridge(tmp_path / "bridge.log", settings)
    try:
        bridge.await_ready()
        assert "queue celeryev.bridge: bound to celeryev, 0 messages" in check(settings)
        other = settings | {"BRIDGE_SQLITE_PATH": str(tmp_path / "other.db")}
        assert "FAIL a bridge that stores in" in check(other)
        done = run_to_end("celery_event_bridge", "run", **settings | {"BRIDGE_SINK": "stdout", "BRIDGE_HTTP": "off"})
        assert (2, "a bridge that stores in" in done.stderr) == (done.returncode, True), done.stderr
    finally:
        bridge.end()
    options = json.dumps(folders.options | {"data_folder_in": str(tmp_path / "none")})
    assert "FAIL broker filesystem://: data_folder_in" in check(settings | {"BRIDGE_BROKER_TRANSPORT_OPTIONS": options})


def test_a_tap_sees_events_and_leaves_nothing(folders: Folders) -> None:
    """Its queue ends with it; that of one that was killed ends with the next."""
    command = [sys.executable, "-m", "celery_event_bridge", "tap", "--format", "json"]
    environment = clean_environment() | folders.variables
    event = oracle.numbered(0, 1)[0].body
    killed: list[Path] = []
    for end in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(dying_with_us(command), env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                until(lambda: len(taps(folders)) == 1 and taps(folders) != killed, 30, "it alone is bound")  # noqa: B023
                folders.publish([event])
                until(lambda: not folders.waiting(f"celeryev.bridge.{taps(folders)[0].name}"), 30, "it has the event")
                process.send_signal(end)
                printed = process.stdout.read()
            finally:
                process.kill()
        if end == signal.SIGKILL:
            killed = taps(folders)
            assert 1 == len(killed)
        else:
            assert event == json.dumps(json.loads(printed)["data"]).encode() or event in printed
    assert [] == taps(folders) == [*folders.messages.glob("*.msg")]


def taps(folders: Folders) -> list[Path]:
    """Folders of taps that are bound; whose binding is gone as well."""
    found = [*(folders.messages / ".celeryev.bridge").glob("tap-*")]
    bound = {queue.removeprefix("celeryev.bridge.") for queue in folders.bound()}
    return [folder for folder in found if folder.name in bound]


def check(settings: dict[str, str]) -> str:
    """What `check` prints."""
    return run_to_end("celery_event_bridge", "check", **settings | {"BRIDGE_HTTP": "off"}).stdout


def count_of(store: SqliteStore, type_: str) -> int:
    """How many events of that type are stored."""
    with sqlite3.connect(f"file:{os.fspath(store.path)}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM events WHERE type = ?", (type_,)).fetchone()[0])


def events_in(path: Path) -> list[str]:
    """The events in a file of kombu's, as JSON."""
    found = json.loads(opened(path.read_bytes(), None, 0).body)
    return [json.dumps(event) for event in (found if isinstance(found, list) else [found])]
