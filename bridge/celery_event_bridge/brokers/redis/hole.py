"""Place in the order of events of which a subscriber has nothing."""

from __future__ import annotations

import msgspec


class Hole(msgspec.Struct, frozen=True):
    """A place in the order of which nobody here has what was published."""

    seconds: float = 0.0
    """Length of a time in which nothing was heard."""
    dropped: int = 0
    """Events that were heard, and dropped for want of room."""
    until: float = 0.0
    """Time when that silence ended, once it is handed out."""
