"""Keys of a Redis, and the script of the lease translated by hand. A test runs the real one beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


class Refused(Exception):
    """An error that a command is answered with."""


class Keys:
    """Values by name, each with the millisecond of the server's clock after which it is gone."""

    def __init__(self) -> None:
        self._values: dict[bytes, tuple[Any, float]] = {}

    def get(self, name: bytes, now: int) -> Any:
        """Return a value; None where there is none, or it has expired."""
        value, until = self._values.get(name, (None, 0))
        if value is not None and now > until:
            del self._values[name]
            return None
        return value

    def put(self, name: bytes, value: Any, until: float) -> None:
        """Set a value."""
        self._values[name] = value, until

    def delete(self, name: bytes) -> None:
        """Delete a value."""
        self._values.pop(name, None)

    def until(self, name: bytes) -> float:
        """Return the millisecond after which it is gone."""
        return self._values[name][1]

    def names(self) -> Sequence[bytes]:
        """Return the names of all."""
        return [*self._values]

    def copied(self) -> Keys:
        """Return them as they are now."""
        copied = Keys()
        copied._values = copy.deepcopy(self._values)
        return copied


def lease_script(
    keys: Keys, now: int, names: Sequence[bytes], argv: Sequence[str], *, oom: bool = False, misconf: bool = False
) -> list[bytes]:
    """Run `celery_event_bridge.brokers.redis.lease.SCRIPT`. Raises Refused where memory is short, or nothing saved."""
    lease, record = names
    owner, milliseconds, action, mark, events, run, location, kept, age, gaps = argv
    holder: str | bool = keys.get(lease, now) or False
    hash_: dict[str, str] = dict(keys.get(record, now) or {})
    fields = ("owner", "at", "mark", "events", "run", "location", "renewed", "said", "gaps")
    before = {name: hash_.get(name, "") for name in fields}
    token = int(hash_.get("token", "0"))
    place = str(now - int(age))
    takes_writes = not oom
    is_free = not holder and action == "take"
    is_too_long = bool(holder) and keys.until(lease) - now > int(milliseconds)
    if misconf and (holder == owner or is_free or is_too_long):
        raise Refused("MISCONF Redis is configured to save RDB snapshots, but it is unable to persist to disk.")
    if holder and keys.until(lease) - now > int(milliseconds):
        takes_writes = True  # once a script has written, it is let
        keys.put(lease, holder, now + int(milliseconds))
    leaves = action in ("release", "leave")
    if leaves:
        if holder == owner:
            keys.delete(lease)
            holder, takes_writes = False, True
    elif holder == owner or (not holder and action == "take"):
        if holder:
            takes_writes = True
        elif oom:
            raise Refused("OOM command not allowed when used memory > 'maxmemory'.")
        keys.put(lease, owner, now + int(milliseconds))
        if not holder or not before["owner"]:
            holder, token = owner, max(token + 1, now)
            hash_ |= {"token": str(token), "owner": owner, "run": run, "location": location, "renewed": str(now)}
            hash_.setdefault("at", place)
            keys.put(record, hash_, now + int(kept) * 1000)
    if before["owner"] == owner and (holder == owner or leaves) and takes_writes:
        hash_ |= {"renewed": "" if action == "release" else str(now)}
        hash_ |= {"location": location} if location else {}
        hash_ |= {"at": place, "said": owner, "gaps": gaps} if mark or not leaves else {}
        hash_ |= {"mark": mark, "events": events} if mark else {}
        keys.put(record, hash_, now + int(kept) * 1000)
    return [str(part).encode() for part in (holder or "", token, now, *before.values())]
