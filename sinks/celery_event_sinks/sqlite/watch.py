"""A look at the table again: what was in it and is gone, by whom, and what somebody has hung on it.

Nothing of this can be found by an event of its own: SQLite tells nobody of what others do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from celery_event_bridge.contract import Event, notices
from celery_event_sinks.sqlite.leftovers import Place
from celery_event_sinks.sqlite.overtaken import removed

ASKED = """
SELECT coalesce((SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'events'), 0),
    coalesce((SELECT min(seq) FROM events), 0), EXISTS (SELECT 1 FROM events WHERE seq = ?1 AND (?2 IS NULL OR id = ?2))
"""
STORED_BEHIND = "SELECT seq, id FROM events WHERE seq > ? AND seq <= ? AND stored_at = ? ORDER BY seq"
TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events' ORDER BY name"


class Table(NamedTuple):
    """Table `events` at one moment."""

    counter: int = 0
    """The highest number ever given."""
    lowest: int = 0
    """The lowest number there is; 0 where there is none."""
    own: bool = False
    """True if the last event that this bridge has stored is there."""


class TableWatch:
    """Watch over one file: tells of what is gone as `stream-shrunk`, of triggers as `stream-advice`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place: Place | None = None
        self._before = Table()
        self._own = 0
        """Number of the last event that this bridge has stored, and has looked for."""
        self._gone = 0
        """The same, where that it is gone was told."""

    def stored_behind(
        self, connection: sqlite3.Connection, own: int, last: int, events: Sequence[Event], stored_at: int
    ) -> None:
        """Tell of numbers that were given anew: of these events some have come before `own`, which was given earlier.

        `last`: the number of the last of them. So it is where an older copy was put into the file (`.restore`), and new
        events come past the old numbers before a look. Raises sqlite3.Error.
        """
        if own == self._gone:
            return  # a look has told of it
        ids = {event.id for event in events}
        rows = connection.execute(STORED_BEHIND, (last - len(events), min(own, last), stored_at)).fetchall()
        first = next((seq for seq, event_id in rows if event_id in ids), None)
        if first is None:
            return  # some were there already, and took a number that nobody has
        highest = max(self._before.counter, own)
        self._tell_put_back(highest, first - 1)
        self._before, self._own = Table(), 0

    def look(
        self, connection: sqlite3.Connection, place: Place | None, stored: int, event_id: str | None = None
    ) -> None:
        """Compare with the look before; `stored` is the last number stored by this bridge, `event_id` whose it is.

        Raises sqlite3.Error.
        """
        if place != self._place:
            self._place, self._before, self._own = place, Table(), 0  # of another file others have told
        own = stored or self._own
        own = 0 if own == self._gone else own
        event_id = event_id if own == stored else None
        connection.execute("BEGIN")
        try:
            now = Table(*connection.execute(ASKED, (own, event_id)).fetchone())
            gone_by_rule = removed(connection).last
            triggers = [row[0] for row in connection.execute(TRIGGERS)]
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        highest = max(self._before.counter, own)
        where = f"SQLite file {self._path}"
        if now.counter < highest:
            self._tell_put_back(highest, now.counter)
            self._gone = own
        elif own and not now.own and gone_by_rule < own:
            self._tell(
                f"{where}: somebody has removed events, or put an older copy in place (.restore): the last one that "
                "was stored here is gone",
                1,
            )
            self._gone = own
        elif self._before.lowest and now.lowest != self._before.lowest and gone_by_rule < self._before.lowest:
            up_to = now.lowest or now.counter + 1
            self._tell(
                f"{where}: somebody has removed events: all from number {self._before.lowest} to {up_to - 1}",
                up_to - self._before.lowest,
            )
        if triggers:
            text = (
                f"{where}: somebody has hung a trigger on the table `events` ({', '.join(triggers)}): it can change or "
                "remove what is stored; DROP TRIGGER, unless it is yours and does neither"
            )
            notices.tell("stream-advice", text, subject=f"{self._path} triggers", every=3600.0)
        self._before, self._own = now, own

    def _tell_put_back(self, highest: int, now: int) -> None:
        self._tell(
            f"SQLite file {self._path}: the table `events` was emptied or put back by somebody: its numbers had "
            f"come to {highest} and were at {now}; what was confirmed with a number above is gone",
            highest - now,
        )

    def _tell(self, text: str, count: int) -> None:
        notices.tell("stream-shrunk", text, subject=str(self._path), count=count)
