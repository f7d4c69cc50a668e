"""Judge of a group of readers, and of a replay: what the group's position passes was handed on by somebody before."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tests.simulation.promises import Broken

POSITION = "SELECT position FROM bridge_readers WHERE name = ?"


class Group:
    """A group's position in the file, watched with each commit. `owes` tells of an event whether it is owed still."""

    def __init__(self, name: str, owes: Callable[[str], bool]) -> None:
        self.name = name
        self.position = 0
        self.told = 0
        """Number up to which a reader was told that all is committed."""
        self.commits = 0
        """Times that it has moved."""
        self._owes = owes

    def look(self, connection: sqlite3.Connection, stored: dict[str, int]) -> None:
        """Look at the position. Raises Broken where it goes back, or passes an event that is owed."""
        try:
            row = sqlite3.Connection.execute(connection, POSITION, (self.name,)).fetchone()
        except sqlite3.OperationalError:
            return  # the table is not there yet
        if row is None or row[0] == self.position:
            return
        before, self.position = self.position, row[0]
        if self.position < before:
            raise Broken(f"commits: group {self.name} went back from {before} to {self.position}")
        self.commits += 1
        passed = [event for event, seq in stored.items() if before < seq <= self.position]
        if owed := [event for event in passed if self._owes(event)]:
            raise Broken(
                f"lost: group {self.name} went on to {self.position}, past {len(owed)} events that nobody was given, "
                f"as {owed[0]}"
            )


class Incarnation:
    """A reader from its start to its end: what it is given, and what it has committed."""

    def __init__(self, name: str, group: Group) -> None:
        self._name = name
        self._group = group
        self._done = group.told
        """Number up to which nothing comes again."""

    def given(self, event: str, seq: int | None) -> None:
        """Judge what it is given. Raises Broken where it was committed before this reader began, or by itself."""
        if seq is not None and seq <= self._done:
            raise Broken(f"again: {self._name} was given {event} at {seq}, and {self._done} was committed")

    def committed(self, seq: int) -> None:
        """Take note that it was told that all up to there is committed. Raises Broken where that is not in the file."""
        self._done = max(self._done, seq)
        self._group.told = max(self._group.told, seq)
        if self._group.position < seq:
            raise Broken(f"commits: {self._name} was told that {seq} is committed, and {self._group.position} is")
