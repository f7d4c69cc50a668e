"""A stream of the model of Redis: its entries, and the ids that `XADD ... IDMP` remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Place = tuple[int, int]
"""An entry's id."""
NOWHERE: Place = (0, 0)
DURATION, MAXSIZE = 100, 100
"""Seconds, and ids of a producer, that Redis remembers unless it is told otherwise."""


class Stored:
    """An entry."""

    __slots__ = ("answered", "at", "event", "fields", "place")

    def __init__(self, place: Place, event: str, fields: list[bytes], at: float) -> None:
        self.place = place
        self.event = event
        """Id of the event in it."""
        self.fields = fields
        self.at = at
        """Time of the world when it was stored."""
        self.answered = False
        """True once somebody was told of it."""


class StreamKey:
    """A stream under its name."""

    def __init__(self) -> None:
        self.entries: dict[Place, Stored] = {}
        """In the order of their ids."""
        self.last = NOWHERE
        self.added = 0
        self.duration, self.maxsize = DURATION, MAXSIZE
        self.groups: dict[bytes, Place] = {}
        self.expires: float | None = None
        self._given: list[tuple[float, Place]] = []
        """Times at which ids were given, and these."""
        self._remembered: dict[bytes, dict[bytes, tuple[Place, float]]] = {}
        """By producer and id: the entry, and when."""

    def next_place(self, milliseconds: int) -> Place:
        """Return the id that the next entry gets."""
        if milliseconds > self.last[0]:
            return milliseconds, 0
        return self.last[0], self.last[1] + 1

    def add(self, stored: Stored) -> None:
        """Add an entry at the end."""
        self.entries[stored.place] = stored
        self.last = stored.place
        self._given.append((stored.at, stored.place))
        self.added += 1

    def remembered(self, producer: bytes, one: bytes, now: float) -> Place | None:
        """Return the entry that an id of a producer has got."""
        found = self._remembered.get(producer, {}).get(one)
        return None if found is None or now - found[1] > self.duration else found[0]

    def remember(self, producer: bytes, one: bytes, place: Place, now: float) -> None:
        """Remember it, and forget the oldest."""
        ids = self._remembered.setdefault(producer, {})
        ids.pop(one, None)
        ids[one] = (place, now)
        while len(ids) > self.maxsize:
            del ids[next(iter(ids))]

    def configure(self, duration: int, maxsize: int) -> None:
        """Set how much is remembered: another setting than before forgets all."""
        if (duration, maxsize) != (self.duration, self.maxsize):
            self.duration, self.maxsize = duration, maxsize
            self._remembered.clear()

    def take(self, places: Iterable[Place]) -> list[Stored]:
        """Take these entries out of it."""
        return [self.entries.pop(place) for place in places]

    def forget_after(self, at: float) -> list[Stored]:
        """Take out what came after that time, as if it had never been."""
        taken = self.take([place for place, one in self.entries.items() if one.at > at])
        self.added -= len(taken)
        gone = {one.place for one in taken}
        for ids in self._remembered.values():
            for one in [one for one, (place, since) in ids.items() if since > at or place in gone]:
                del ids[one]
        while self._given and self._given[-1][0] > at:
            self._given.pop()
        self.last = self._given[-1][1] if self._given else NOWHERE  # whether its entry was deleted since or not
        return taken

    def oldest(self, keep: Callable[[int, Place], bool]) -> list[Place]:
        """Return the entries from the first on up to the one that is kept."""
        found = []
        left = len(self.entries)
        for place in self.entries:
            if keep(left, place):
                break
            found.append(place)
            left -= 1
        return found
