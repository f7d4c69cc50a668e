"""Trial of what a bridge needs in a Redis: each command, on keys of its own that are gone within the same step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from celery_event_bridge.contract import Finding

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.address import Names
    from celery_event_bridge.brokers.redis.link import Link
    from celery_event_bridge.brokers.redis.server import Server

TRIAL = """
local failed = {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) == 'table' and reply['err'] then
    failed[#failed + 1] = name
    failed[#failed + 1] = reply['err']
    return false
  end
  return true
end
local key, list = KEYS[1], KEYS[2]
try('TIME')
try('GET', key)
try('SET', key, '', 'PX', 1, 'XX')
try('PTTL', key)
try('PEXPIRE', key, 1)
try('EXPIRE', key, 1)
try('HMGET', key, 'f')
try('HGET', key, 'f')
try('LLEN', list)
try('LPOP', list)
if try('DEL', key) then
  try('HSET', key, 'f', 'v')
  redis.pcall('DEL', key)
  try('RPUSH', list, '')
  redis.pcall('DEL', list)
end
return failed
"""
"""KEYS: one beside the lease, one beside the list of what is parked. Returns a command and its error, again and again.
Nothing is written where it could not be removed. SET is the first command that could write, as it is for who takes the
lease: what comes after one is let through when memory is used up."""
NOT_A_RIGHT = re.compile(r"-?(OOM|MISCONF|READONLY|NOREPLICAS|MASTERDOWN|LOADING)\b")
_NO_COMMAND = ("can't run this command", "no permissions to run", "can't execute")
_NO_KEY = (
    "can't access at least one of the keys",
    "permissions to access one of the keys",
    "No permissions to access a key",
)


def judged(link: Link, names: Names, server: Server) -> Iterator[Finding]:
    """Yield what is refused, by the name of the command, the key or the channel; and whether writes are."""
    lacking: list[str] = []
    trial = b".trial"
    reply = link.ask("EVAL", TRIAL, 2, names.lease + trial, names.rejected + trial)
    if isinstance(reply, Exception):
        pairs = [("eval", str(reply))]
    else:
        texts = [bytes(part).decode(errors="replace") for part in reply]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
    refused = link.ask("PUBLISH", names.control, b"")
    if isinstance(refused, Exception):
        pairs.append(("publish", str(refused)))
    state = ""
    for command, error in pairs:
        if (found := NOT_A_RIGHT.search(error)) is not None:
            state = state or found[1]
        else:
            lacking.append(_lack(command, error, names))
    lacking = list(dict.fromkeys(lacking))
    if lacking:
        yield Finding("FAIL", f"broker Redis at {link.where}: its user lacks {', '.join(lacking)} (see ACL SETUSER)")
    if state:
        yield Finding("FAIL", f"broker Redis at {link.where} takes no writes: {_why(state, server)}")
    if not lacking and not state:
        yield Finding(
            "ok", f"rights: the lease {names.lease.decode()}, its record, and the list {names.rejected.decode()}"
        )
    yield from _of_an_operator(link, names)


def overwritten(link: Link, names: Names) -> Iterator[Finding]:
    """Yield what somebody has put in the place of a key of ours, of another type."""
    for command in (("GET", names.lease), ("HGETALL", names.record)):
        if "WRONGTYPE" in str(link.ask(*command)):
            yield Finding(
                "warn",
                f"{command[1].decode()} at {link.where} is of another type than a bridge's: somebody has overwritten "
                "it, and the next bridge deletes it",
            )
    if "WRONGTYPE" in str(link.ask("LLEN", names.rejected)):
        yield Finding(
            "FAIL",
            f"{names.rejected.decode()} at {link.where} is no list: somebody has overwritten it, and nothing can be "
            "parked; rename or delete it",
        )


def _lack(command: str, error: str, names: Names) -> str:
    own = names.lease.decode().removesuffix("lease") + "*"
    if any(part in error for part in _NO_COMMAND):
        return f"+{command.lower()}"
    if any(part in error for part in _NO_KEY):
        return f"~{own}"
    if "access" in error and "channel" in error:
        return f"&{own}"
    return f"what {command} needs: {error}"


def _why(state: str, server: Server) -> str:
    if state == "OOM":
        return (
            f"its memory is used up (maxmemory {server.limit / 2**20:.3g} MB, {server.policy or 'noeviction'}): no "
            "bridge can take the lease, nothing can be parked, and Celery can send no task; give it more"
        )
    if state == "MISCONF":
        return "it cannot save to its disk (MISCONF): no bridge can take the lease; look at its log"
    if state == "READONLY":
        return "it is a replica (READONLY): name its master in BRIDGE_BROKER_URL, or the sentinels"
    return f"{state}: look at its log"


def _of_an_operator(link: Link, names: Names) -> Iterator[Finding]:
    key = names.rejected + b".trial"
    trials: tuple[tuple[str | bytes | int, ...], ...] = (("LRANGE", key, 1, 0), ("LREM", key, 1, b""))
    lacking = [
        str(command[0]).lower()
        for command in trials
        if isinstance(reply := link.ask(*command), Exception) and any(part in str(reply) for part in _NO_COMMAND)
    ]
    if lacking:
        yield Finding(
            "warn", f"`celery-event-bridge rejected` cannot be used by this user, who lacks +{' +'.join(lacking)}"
        )
