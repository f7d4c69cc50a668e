"""Meaning of what redis-py and the socket raise, in a line that says what to do and holds no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.tls import tls_remedy
from celery_event_bridge.contract.values import with_remedy

NO_TLS = "it speaks no TLS on that port: redis:// instead of rediss://"
_LOGIN = "it wants a login, or another one: check user and password in BRIDGE_BROKER_URL"
_INSTEAD = {
    "WRONGPASS": _LOGIN,
    "NOAUTH": _LOGIN,
    "invalid username-password": _LOGIN,
    "Authentication required": _LOGIN,
    "HELLO must be called": _LOGIN,
    "without any password configured": _LOGIN,
    "DB index is out of range": (
        "it has no database of that number: BRIDGE_BROKER_URL ends with the one of Celery's broker_url"
    ),
}
"""By a part of the text, what is said in its place."""
_REMEDIES = {
    "has no permissions": "give this user that right",
    "unknown command": "Redis 6 or newer is needed",
    "Protocol error": "it is no Redis that answers there: look at host and port in BRIDGE_BROKER_URL",
}
"""By a part of the text, what is said behind it."""


@contextmanager
def translated(where: str, *, tls: bool | None = None) -> Iterator[None]:
    """Turn what redis-py and the socket raise into BrokerUnavailable.

    `tls`: whether a connection is being made with it; None where it was made before.
    """
    try:
        yield
    except MasterNotFoundError as exc:
        raise BrokerUnavailable(f"{where}: {exc}: is master_name right, and do the sentinels see it?") from exc
    except (RedisError, OSError) as exc:
        raise BrokerUnavailable(f"Redis at {where}: {_reason(exc, tls=tls)}") from exc


def _reason(exc: Exception, *, tls: bool | None) -> str:
    text = str(exc) or type(exc).__name__
    if instead := next((said for part, said in _INSTEAD.items() if part in text), ""):
        return instead
    remedy = tls_remedy(text, "BRIDGE_BROKER_TLS", NO_TLS) if tls else ""
    remedy = remedy or next((said for part, said in _REMEDIES.items() if part in text), "")
    return with_remedy(text.rstrip("."), remedy or _of_the_way(exc, text, tls=tls))


def _of_the_way(exc: Exception, text: str, *, tls: bool | None) -> str:
    if isinstance(exc, TimeoutError) or "Timeout" in text:
        without = ", or does it speak no TLS on that port (redis:// instead of rediss://)" if tls else ""
        return f"is it busy, or is a network between{without}?"
    if "onnect" in text:
        closed = tls is False and not isinstance(exc, ConnectionRefusedError) and "refused" not in text
        with_tls = ", or does it speak TLS on that port (rediss://)" if closed else ""
        return f"is Redis there, and BRIDGE_BROKER_URL right{with_tls}?"
    return ""
