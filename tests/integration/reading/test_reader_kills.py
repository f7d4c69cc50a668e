"""Two readers of one group under SIGKILL, behind bridges under SIGKILL: what is handled again, and by whom."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.load import Load
from tests.support.reading import Notes, notes
from tests.support.servers import newer_redis
from tests.support.servers.debian import ROOT, until
from tests.support.stores import KafkaStore, RedisStore, SqliteStore, at_full_length

EVENTS = 100_000
RATE = 3000
COMMIT_EVERY = 500
KILL_EVERY = 2.5
"""Seconds between two kills of a reader; a bridge dies half-way between."""
KINDS = ["sqlite", "redis", "kafka"]

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1200), at_full_length]


class Group:
    """Two readers at a time, each with a file of notes of its own."""

    def __init__(self, url: str, lease: float, folder: Path, every: int = COMMIT_EVERY) -> None:
        self._arguments = [url, "billing"], [str(lease), str(every), "0"]
        self._folder = folder
        self._numbers = count()
        self.files: list[Path] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def start(self) -> None:
        file = self._folder / f"notes-{next(self._numbers)}"
        file.touch()
        self.files.append(file)
        before, after = self._arguments
        command = [sys.executable, "-m", "tests.support.reading", *before, str(file), *after]
        self.running.append(subprocess.Popen(command, cwd=ROOT))

    def kill_the_oldest(self) -> None:
        """And put another one in its place."""
        oldest = self.running.pop(0)
        oldest.kill()
        oldest.wait(60)
        self.kills += 1
        self.start()

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        # One that was started a moment ago may be ended by the signal before it listens to it: it has read nothing.
        assert {process.wait(120) for process in self.running} <= {0, -signal.SIGTERM}
        self.running = []

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait(60)

    def notes(self) -> list[Notes]:
        return [notes(file) for file in self.files]


class Lines:
    """Which ids the readers have handled, read on from where it was read last."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._at: dict[Path, int] = {}
        self.handled: set[str] = set()

    def read(self) -> set[str]:
        for file in self._group.files:
            with file.open() as lines:
                lines.seek(self._at.get(file, 0))
                text = lines.read()
                whole = text[: text.rfind("\n") + 1]
                self._at[file] = self._at.get(file, 0) + len(whole)
            self.handled.update(line[2:] for line in whole.splitlines() if line.startswith("h"))
        return self.handled


@pytest.fixture(params=KINDS)
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str], str, float]]:
    """Its kind, a bridge's settings, its URL, and the shortest lease; Redis is one that drops copies, 8.6 or newer."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            settings = SqliteStore(tmp_path).settings
            url, lease = f"sqlite:///{tmp_path / 'events.db'}", 1.0
        elif request.param == "redis":
            server = stack.enter_context(newer_redis())
            settings, url, lease = RedisStore(server).settings, server.url, 1.0
        else:
            store = KafkaStore(request.getfixturevalue("own_kafka"))
            settings, url, lease = store.settings, f"kafka://{store.server.bootstrap}/{store.topic}", 6.0
        yield request.param, settings, url, lease


def test_readers_and_bridges_killed_again_and_again(
    start_bridge: Callable[..., Bridge],
    broker_url: str,
    stream: tuple[str, dict[str, str], str, float],
    tmp_path: Path,
) -> None:
    """Of 100,000 events each is handled; again only those without a commit; and none counts for two readers."""
    kind, settings, url, lease = stream
    settings = settings | {"BRIDGE_BROKER_URL": broker_url}
    bridges = [start_bridge(**settings) for _ in range(2)]
    for bridge in bridges:
        bridge.await_ready()
    group = Group(url, lease, tmp_path)
    try:
        for _ in range(2):
            group.start()
        load = Load(broker_url, RATE, total=EVENTS)
        load.start()
        bridge_kills, next_kill = 0, time.monotonic() + KILL_EVERY
        while load.is_alive():
            time.sleep(max(0.0, next_kill - time.monotonic()))
            group.kill_the_oldest()
            time.sleep(KILL_EVERY / 2)
            bridges[bridge_kills % 2].kill()
            bridges[bridge_kills % 2] = start_bridge(**settings)
            bridge_kills += 1
            next_kill += KILL_EVERY
        published = {oracle.event_id(body) for body in load.finish(wait=True)}
        assert EVENTS == len(published)
        lines = Lines(group)
        until(lambda: published <= lines.read(), 120, "each event is handled", pause=0.5)
        group.stop()
        found = group.notes()
    finally:
        group.end()
    handled, committed, left = Counter(), Counter(), set()
    for one in found:
        handled.update(one.handled)
        committed.update(set(one.committed))
        left.update(one.left)
    again = {event_id for event_id, times in handled.items() if times > 1}
    print(
        json.dumps(
            {
                "stream": kind,
                "farthest copy": _farthest(url) if kind == "kafka" else None,
                "events": len(published),
                "readers killed": group.kills,
                "bridges killed": bridge_kills,
                "handled": handled.total(),
                "handled again": len(again),
                "of these not left behind": len(again - left),
                "committed": len(committed),
                "committed twice": sum(times > 1 for times in committed.values()),
            }
        )
    )
    assert set() == published - set(handled)
    assert set() == set(handled) - published
    assert group.kills >= 10
    assert bridge_kills >= 10
    assert again, "nothing was in hand of the killed: it proves nothing"
    assert set() == again - left, "handled again, though the last surviving commit covers it"
    assert 1 == max(committed.values()), "two readers have committed the same event"


def _farthest(url: str) -> int:
    """How many records of its partition after the original the last copy of an event is at most, as stored."""
    bootstrap, _, topic = url.removeprefix("kafka://").partition("/")
    first: dict[bytes, int] = {}
    farthest = 0
    for record in oracle.in_kafka(bootstrap, topic):
        farthest = max(farthest, record.offset - first.setdefault(record.headers["ce_id"], record.offset))
    return farthest
