"""The example that bills: each task once, across crashes, where the id is looked at."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import oracle, workers
from tests.support.bills import Bills
from tests.support.example_runs import TASKS, lines
from tests.support.servers.debian import until
from tests.support.servers.postgresql import postgresql

KINDS = ["sqlite", "redis", "kafka"]


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
