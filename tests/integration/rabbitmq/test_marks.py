"""Marks of bridges at the exchange: those that store elsewhere, or want other types, are told of each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.others import LIVE, SOON
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]


def test_bridges_that_store_elsewhere_are_told_of_each_other(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """On both sides; and replicas that store in one stream are not told of anything."""
    # With names that are not ASCII, since a refusal is cut in the midst of a character.
    folders = [tmp_path / f"{'日本語' * 12}{name}" for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = map(SqliteStore, folders)
    ours = [start_bridge(BRIDGE_BROKER_URL=broker_url, **first.settings).await_ready() for _ in range(2)]
    theirs = start_bridge(BRIDGE_BROKER_URL=broker_url, **second.settings).await_ready()
    for bridge, folder in ((theirs, folders[1]), *((each, folders[0]) for each in ours)):
        line = bridge.await_log("take events off queue 'celeryev.bridge' as well", timeout=2 * SOON)["event"]
        (file,) = (each.stat() for each in folder.glob("*.db"))
        assert f"(device {file.st_dev}, inode {file.st_ino}): each event reaches" in line  # numbers with their names
    theirs.stop()
    again = start_bridge(BRIDGE_BROKER_URL=broker_url, **first.settings).await_ready()
    until(lambda: again.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == again.logged("as well")


def test_bridges_that_call_one_file_by_two_names_are_told_so(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """It is one file by its device and inode: what helps is one path, and not another queue."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to("one")
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path / "one").settings).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    done = run_to_end(
        "celery_event_bridge", "check", BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path / "two").settings
    )
    (line,) = [line for line in done.stdout.splitlines() if "consume queue" in line]
    assert "the same file by another name, consume queue celeryev.bridge: give both bridges the same path" in line
    assert "Stop one of them" not in line


def test_bridges_that_want_other_types_are_told_of_each_other(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Though they store in one stream, on both sides and by `check`; the order of the patterns makes no difference."""
    given = {"BRIDGE_BROKER_URL": broker_url, **SqliteStore(tmp_path).settings}
    all_types = start_bridge(**given).await_ready()
    some = [
        start_bridge(**given, BRIDGE_EVENT_TYPES=types).await_ready()
        for types in ("task-failed,task-sent", "task-sent,+task-failed")
    ]
    for bridge in (all_types, *some):
        bridge.await_log("with another BRIDGE_EVENT_TYPES, take events off queue", timeout=2 * SOON)
    done = run_to_end("celery_event_bridge", "check", **given)
    assert (1, True) == (done.returncode, "with another BRIDGE_EVENT_TYPES, consume queue" in done.stdout)
    assert 0 == all_types.stop()
    again = start_bridge(**given, BRIDGE_EVENT_TYPES="task-sent,task-failed").await_ready()
    until(lambda: again.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == again.logged("as well")


def test_standard_output_takes_nothing_away_from_others(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """`run` refuses it where bridges store elsewhere, and not beside its like."""
    start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings).await_ready()
    refused = run_to_end("celery_event_bridge", "run", "--sink", "stdout", BRIDGE_BROKER_URL=broker_url)
    assert 2 == refused.returncode
    assert "BRIDGE_SINK=stdout would take events away from bridges that store in sqlite" in refused.stderr
    alike = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE": "a-look", "BRIDGE_SINK": "stdout"}
    for _ in range(2):
        start_bridge(**alike).await_ready()


def test_a_mark_that_cannot_be_had_costs_no_connection(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Somebody's queue of another kind has its name: the bridge goes on without."""
    connection = oracle.broker(broker_url)
    for name in ("stores-in", "stores-in.other"):
        connection.channel().queue_declare(f"{LIVE}.{name}", exclusive=True)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == bridge.logged("broker unavailable")
    connection.close()
