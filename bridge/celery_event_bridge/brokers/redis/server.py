"""Kind and state of a server, as far as its INFO says: which version, whether it takes writes, how full it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from celery_event_bridge.contract.broker import RefusedForGood

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.link import Link

_FIELD = re.compile(rb"^(\w+):([^\r\n]*)", re.MULTILINE)
NO_CLUSTER = (
    "it is a node of a Redis Cluster, which is not supported as the broker: choose a server that is in none, as Celery "
    "needs one, too"
)
NO_SENTINEL = (
    "it is a sentinel: write sentinel://host:26379/0, and the master's name as master_name into "
    "BRIDGE_BROKER_TRANSPORT_OPTIONS"
)


class Server(msgspec.Struct, frozen=True):
    """State of a server. A field is empty, or 0, where it does not say, as to a user without the right to INFO."""

    name: str = ""
    """Such as `Redis 7.0.15`."""
    run: str = ""
    """Id of its process."""
    is_replica: bool = False
    used: int = 0
    """Bytes of memory."""
    limit: int = 0
    """Bytes that it may use, `maxmemory`."""
    policy: str = ""
    """Setting `maxmemory-policy`."""
    uptime: int | None = None
    """Seconds since its process began."""


def server(link: Link, *sections: str) -> Server:
    """Ask it, before anything was subscribed to. Raises RefusedForGood where no bridge can ever use it."""
    reply = link.ask("INFO", *sections)
    fields = (
        {name.decode(): value.decode() for name, value in _FIELD.findall(reply)} if isinstance(reply, bytes) else {}
    )
    mode = fields.get("redis_mode") or fields.get("server_mode", "")
    for kind, text in (("cluster", NO_CLUSTER), ("sentinel", NO_SENTINEL)):
        if mode == kind:
            raise RefusedForGood(f"Redis at {link.where}: {text}")
    valkey, redis = fields.get("valkey_version"), fields.get("redis_version")
    return Server(
        name=f"Valkey {valkey}" if valkey else f"Redis {redis}" if redis else "",
        run=fields.get("run_id", ""),
        is_replica=fields.get("role") == "slave",
        used=_number(fields.get("used_memory")),
        limit=_number(fields.get("maxmemory")),
        policy=fields.get("maxmemory_policy", ""),
        uptime=int(up) if (up := fields.get("uptime_in_seconds", "")).isdigit() else None,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
