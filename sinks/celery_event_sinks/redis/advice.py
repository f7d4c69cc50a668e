"""Advice on how the server's settings, or a trim by age, may lose what was confirmed."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ResponseError

from celery_event_bridge.contract import Finding
from celery_event_bridge.contract.values import too_short
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.trim import Trim

WANTED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def advice(client: RedisClient, trim: Trim) -> Sequence[Finding]:
    """Return a finding for each setting that may lose what was confirmed, ours too. Raises SinkUnavailable."""
    text = too_short(trim.bound) if trim.rule == "age" else ""
    findings = [Finding("warn", f"BRIDGE_REDIS_TRIM={trim}: {text}")] if text else []
    for name, value in WANTED.items():
        reply = client.ask("CONFIG", "GET", name)
        if isinstance(reply, ResponseError):
            return [*findings, Finding("warn", f"cannot see whether Redis keeps what it confirms: {reply}")]
        found = reply[1].decode() if reply else value
        if found != value and not (name == "maxmemory-policy" and found.startswith("volatile-")):
            text = f"{name} is {found}; with {value} Redis loses nothing that it has confirmed"
            findings.append(Finding("warn", text))
    return findings
