"""Lease by which replicas agree on the one that forwards: in that Redis, for LEASE seconds, renewed long before.

Pure but for the script, which the server runs as one step. Whoever holds the lease counts its time from when the
renewal was *sent*: it stops before the server lets anybody else in.

A holder may live that the server knows nothing of: its lease was deleted, the server's clock was set, or Redis was
restarted or failed over, and has lost it. So a new holder forwards only once LEASE seconds are over, by its own clock,
since it first saw the last renewal, unless that lease was given up; and by another `run_id` than that of the record, or
by none, since it took the lease. It drops nothing meanwhile. Who takes it anew meanwhile waits on, and who gives it up
*leaves* it: the next one waits, too.

While the server takes no writes at all (MISCONF, NOREPLICAS) nobody can take the lease, and whoever has it holds on by
the refusals: each is as good as a renewal of when it was asked for, once all who listen have been told. For who takes
it next, after that word, forwards LEASE seconds later. What comes late from one before is known by its lower token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from celery_event_bridge.brokers.redis.silences import Position

LEASE = 2.0
"""Seconds. A holder that stands still for longer is replaced; the overlap is recognised by the events' ids."""
RENEW = 0.4
"""Seconds between two looks at the lease."""
GRACE = 1.0
"""Seconds that who has not heard everything since the last record leaves a free lease to one who has."""
KEPT = 7 * 86400
"""Seconds that the record of the last holder is kept."""

SCRIPT = """
local holder = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[2], 'token', 'owner', 'at', 'mark', 'events', 'run', 'location', 'renewed',
  'said', 'gaps')
local token = tonumber(record[1] or '0') or 0
if not (token >= 0 and token < 2^53) then token = 0 end
local text, place = string.format('%.0f', now), string.format('%.0f', now - ARGV[9])
local function name_the_holder()
  token = math.max(token + 1, now)
  redis.call('HSET', KEYS[2], 'token', string.format('%.0f', token), 'owner', ARGV[1], 'run', ARGV[6],
    'location', ARGV[7], 'renewed', text)
  if not record[3] then
    redis.call('HSET', KEYS[2], 'at', place)
  end
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
if holder then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
local leaves = ARGV[3] == 'release' or ARGV[3] == 'leave'
if leaves then
  if holder == ARGV[1] then
    redis.call('DEL', KEYS[1])
    holder = false
  end
elseif holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if not record[2] or token == 0 then
    name_the_holder()
  end
elseif not holder and ARGV[3] == 'take' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
  name_the_holder()
end
if record[2] == ARGV[1] and (holder == ARGV[1] or leaves) then
  redis.pcall('HSET', KEYS[2], 'renewed', ARGV[3] == 'release' and '' or text)
  if ARGV[7] ~= '' then
    redis.pcall('HSET', KEYS[2], 'location', ARGV[7])
  end
  if ARGV[4] ~= '' or not leaves then
    redis.pcall('HSET', KEYS[2], 'at', place, 'said', ARGV[1], 'gaps', ARGV[10])
  end
  if ARGV[4] ~= '' then
    redis.pcall('HSET', KEYS[2], 'mark', ARGV[4], 'events', ARGV[5])
  end
  redis.pcall('EXPIRE', KEYS[2], ARGV[8])
end
return {holder or '', string.format('%.0f', token), text, record[2] or '', record[3] or '', record[4] or '',
  record[5] or '', record[6] or '', record[7] or '', record[8] or '', record[9] or '', record[10] or ''}
"""
"""KEYS: the lease, the record. ARGV: owner, milliseconds, `look`, `take`, `release` or `leave`, mark, events, run,
location, how long the record is kept, the milliseconds for which the oldest event has not been confirmed, and the gaps
that are not told of. Returns who holds it now, the token, the time in milliseconds, and the record as it was.

Taking it says nothing of what is confirmed: the answer may be lost, and with it who had held it and up to when. A
lease that would last for longer than it may gets its time anew, and a record that is gone, or whose token is no number,
is made anew: the clock was set back, or somebody has meddled."""


class Record(msgspec.Struct, frozen=True):
    """Record that the last holder has left."""

    owner: str
    at: float
    """Seconds since the epoch, by the server's clock: what was published before that is confirmed."""
    position: Position | None
    run: str
    location: str
    renewed: str = ""
    """Time of the last renewal; empty where the lease was given up since."""
    said: str = ""
    """Name of who said `at`: another one than the owner, until that one knows that it holds the lease."""
    gaps: Sequence[tuple[float, float]] = ()
    """Times that nobody has heard and that were not told of yet, in seconds after `at`."""

    @property
    def renewed_at(self) -> float:
        """Return that time in seconds since the epoch; 0.0 where there is none."""
        return int(self.renewed) / 1000 if self.renewed.isdigit() else 0.0


class Seen(msgspec.Struct, frozen=True):
    """Answer to a look at the lease."""

    holder: str
    """Empty where nobody holds it."""
    token: int
    now: float
    """Time by the server's clock."""
    record: Record | None


class Outcome(msgspec.Struct, frozen=True):
    """Change that a look has brought."""

    taken: bool = False
    lost: bool = False
    record: Record | None = None
    """Record of the one before, where the lease was taken."""
    now: float = 0.0


def seen(reply: Sequence[Any]) -> Seen:
    """Read the script's reply. Raises ValueError where it is none."""
    holder, token, now, owner, at, mark, events, run, location, renewed, said, gaps = (
        bytes(part).decode(errors="replace") for part in reply
    )
    record = None
    with suppress(ValueError):  # somebody has written into it: it says nothing
        position = Position(mark, int(events)) if mark else None
        if owner:
            record = Record(owner, int(at or 0) / 1000, position, run, location, renewed, said, _read(gaps))
    return Seen(holder, int(token), int(now) / 1000, record)


def written(gaps: Sequence[tuple[float, float]], age: float) -> str:
    """Return the text for the record of gaps in seconds before now, as it says for how long all is confirmed."""
    return json.dumps([(round(age - begin, 3), round(age - end, 3)) for begin, end in gaps]) if gaps else ""


def _read(gaps: str) -> Sequence[tuple[float, float]]:
    with suppress(ValueError, RecursionError):  # somebody has written into it
        return msgspec.json.decode(gaps, type=tuple[tuple[float, float], ...]) if gaps else ()
    return ()


class Lease:
    """State of one replica towards the lease. All times are monotonic, in seconds."""

    def __init__(self, owner: str, run: str) -> None:
        self.owner = owner
        self.run = run
        """Id of the server's process; empty where it may not be asked for."""
        self.token = 0
        """The token of ours while we hold it; 0 otherwise."""
        self._valid_until = float("-inf")
        self._from = float("-inf")
        """Time from which we may forward."""
        self._free_since: float | None = None
        self.last: Seen | None = None
        """Last answer on this connection."""
        self._renewed = ("", "")
        """The last renewal that was seen: by whom, and when by the server's clock."""
        self._renewed_since = float("-inf")
        """Time when it was seen first: from then on that lease lasts for LEASE seconds at most."""
        self.holder = ""
        """Name of who holds it, as last seen."""
        self.location = ""
        """Place where that one stores."""
        self._due = float("-inf")
        self._asked_at: float | None = None
        self._another_holds_on = False
        """True where another one has said that it holds on, until its lease is renewed."""

    def new_connection(self, run: str) -> None:
        """Take note of another connection, perhaps to another server: what was asked gets no answer any more.

        Nothing is forwarded until the server has said who holds the lease: who has missed something gives it up first.
        """
        self._valid_until = float("-inf")
        if run != self.run:
            self.token = 0  # what it says of how far all is confirmed means nothing there
        self.run = run
        self._asked_at = self.last = self._free_since = None
        self._renewed = ("", "")
        self._due = float("-inf")

    def holds(self, now: float) -> bool:
        """Return whether we may forward."""
        return self._from <= now < self._valid_until

    @property
    def is_ours(self) -> bool:
        """Return whether we hold it, as last seen; it may have run out since."""
        return self.token != 0

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look, and nothing is asked."""
        return self._asked_at is None and now >= self._due

    def hurry(self) -> None:
        """Look at once: somebody says that it is free."""
        self._due = float("-inf")

    def action(self, now: float, *, wants: bool, whole: bool) -> str:
        """Return what to ask for: `take` where it may be ours. `whole`: nothing was missed since the last record."""
        if not wants:
            return self.farewell(now) if self.is_ours else "look"
        waited = self._free_since is not None and now - self._free_since >= GRACE
        return "take" if whole or waited or self.is_ours else "look"

    def farewell(self, now: float) -> str:
        """Return what to ask for to give it up: `leave` where the next one has to wait, as we do."""
        return "release" if now >= self._from else "leave"

    def asked(self, now: float) -> None:
        """Take note that it is asked, now."""
        self._asked_at, self._due = now, now + RENEW

    def answered(self, answer: Seen, now: float) -> Outcome:
        """Take note of the answer to what was asked."""
        asked_at, self._asked_at = self._asked_at, None
        self.last, self.holder = answer, answer.holder
        self.location = answer.record.location if answer.record is not None else ""
        self._free_since = None if answer.holder else (self._free_since if self._free_since is not None else now)
        before = answer.record
        if before is not None and (before.owner, before.renewed) != self._renewed:
            if self._renewed[0]:  # else it is seen for the first time, and may be old
                self._another_holds_on = False
            self._renewed, self._renewed_since = (before.owner, before.renewed), now
        if answer.holder != self.owner or asked_at is None:
            lost = self.is_ours and bool(answer.holder)
            self.token, self._valid_until = 0, float("-inf")
            return Outcome(lost=lost)
        made_anew = before is None and now < self._valid_until  # the record was deleted, and we have held on
        taken = self.token != answer.token and not made_anew
        self._valid_until = asked_at + LEASE
        self.token = answer.token
        if not taken:
            return Outcome()
        self._from = max(self._from, self._may_forward_from(before, now))
        return Outcome(taken=True, record=before, now=answer.now)

    def _may_forward_from(self, before: Record | None, now: float) -> float:
        """Return when the lease of the one before is over, by our own clock: the server's may have been set."""
        if self._another_holds_on:
            return now + LEASE
        if before is not None and before.owner == before.said == self.owner:
            return now
        if before is None or "" == before.run or before.run != self.run:
            return now + LEASE
        return now if not before.renewed else max(now, self._renewed_since + LEASE)

    def unanswered(self, now: float) -> None:
        """Take note that the server would not say."""
        self._asked_at, self._due = None, now + RENEW

    def hold_on(self, now: float, told_at: float | None) -> bool:
        """Take note that the server takes no writes: nobody else has it. `told_at`: when all had been told of it.

        Returns whether it is ours still.
        """
        asked_at = self._asked_at
        self.unanswered(now)
        if asked_at is not None and told_at is not None and told_at <= asked_at and self.holds(now):
            self._valid_until = max(self._valid_until, asked_at + LEASE)
        return self.holds(now)

    def another_holds_on(self) -> None:
        """Take note that another one goes on without a renewal: once it is ours, it is waited for."""
        self._another_holds_on = True

    def expired(self, now: float) -> bool:
        """Give it up where it has run out by our own clock; returns whether it just has."""
        if not self.is_ours or now < self._valid_until or self._valid_until == float("-inf"):
            return False
        self.token, self._valid_until = 0, float("-inf")
        return True
