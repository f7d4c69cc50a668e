"""A group whose row in the table `bridge_readers` somebody has removed, or set elsewhere, by SQL: told of."""

from __future__ import annotations

import sqlite3

from celery_event_bridge.contract import notices

COUNT = "SELECT count(*) FROM (SELECT 1 FROM events WHERE seq > ? AND seq <= ? LIMIT 10000)"
"""Enough to see how much it is, and no long look."""


def past(connection: sqlite3.Connection, group: str, position: int, noted: int | None, *, seen: bool) -> int:
    """Tell of a position that is another one than a reader has noted beside it; return how many events it was set past.

    None where no reader had seen the group before (`seen`): that is how an operator has it begin elsewhere. Raises
    sqlite3.Error.
    """
    if noted is None or noted == position:
        return 0
    ahead = position > noted
    what = "ahead, past events that were not committed" if ahead else "back: events come again"
    tell(group, f"was set {what} (UPDATE bridge_readers), from {noted} to {position}")
    if not ahead or not seen:
        return 0
    return int(connection.execute(COUNT, (noted, position)).fetchone()[0])


def tell(group: str, what: str) -> None:
    """Tell what others have done to the group."""
    text = f"the group {group!r} in the table `bridge_readers` {what}"
    notices.tell("group-made", text, subject=f"{group} bridge_readers", logger="celery_event_bridge.reader")
