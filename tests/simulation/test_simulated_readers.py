"""Readers of a group and a replay in the world `reading`: what is broken on purpose is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celery_event_bridge.reading.session import Events
from celery_event_bridge.replay.order import Settled
from celery_event_sinks.sqlite.lease import Lease
from tests.simulation.faults import Card
from tests.simulation.run import play
from tests.simulation.sqlite.group_reader import GroupReader

FROZEN = [Card(2.0 + 1.9 * number, "reader frozen", 0.4 * (number % 2), 0.86) for number in range(15)]
"""Both readers, in turn, for longer than the lease."""


def commit_what_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit takes all of the batch with it, whatever of it was handed out."""

    def commit(self: Events, _: object) -> bool:
        return self._commit_until(self._first + len(self._records) - 1)

    monkeypatch.setattr(Events, "commit", commit)


def commit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit is called durable, and is not written."""
    monkeypatch.setattr(Lease, "commit", lambda *_: True)


def keep_what_another_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has stood still for longer than its lease moves the position, which is another's by now.

    It stands still in the midst of an event, and commits that one.
    """
    monkeypatch.setattr(GroupReader, "slowness", (2.0, 4.0))

    def renewed(self: Lease, connection: object, position: int, read: object) -> bool:
        connection.execute("BEGIN IMMEDIATE")  # type: ignore[attr-defined]
        moved = "UPDATE bridge_readers SET position = ? WHERE name = ?"
        connection.execute(moved, (position, self._group))  # type: ignore[attr-defined]
        connection.execute("COMMIT")  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(Lease, "commit", renewed)


def settle_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay's position goes past what its target has not stored yet."""
    enter = Settled.enter

    def enter_and_settle(self: Settled, number: int) -> None:
        enter(self, number)
        self.until = number

    monkeypatch.setattr(Settled, "enter", enter_and_settle)
    monkeypatch.setattr(Settled, "settle", lambda *_: None)


@pytest.mark.parametrize(
    ("break_it", "sort", "cards", "first"),
    [
        (commit_what_is_fetched, "lost: group billing", None, 2),
        (commit_nothing, "commits", None, 2),
        (keep_what_another_has, "commits", FROZEN, 2),
        (settle_what_is_read, "lost: group night", None, 2),
    ],
)
def test_a_broken_reader_or_replay_is_found(
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    sort: str,
    cards: list[Card] | None,
    first: int,
) -> None:
    """By the verdict that is due; the first seed is one that has found it before."""
    break_it(monkeypatch)
    failures = (play("reading", str(seed), cards)[0].failure for seed in range(first, first + 60))
    assert next((one for one in failures if one.startswith(sort)), None)
