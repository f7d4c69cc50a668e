"""Start of reading: an age, a time, or an end of the stream."""

from __future__ import annotations

import datetime
import time

from celery_event_bridge.contract.values import duration

ENDS = ("earliest", "latest")
LAST = 253_402_300_799_000_000
"""The last second of the year 9999, in microseconds."""
EXPECTED = "expected an age such as 10m or 2d, a time such as 2030-01-31T12:00:00+00:00, earliest or latest"


def start(since: str | datetime.datetime | datetime.timedelta | None, name: str = "since") -> str | int:
    """`earliest` (also for None), `latest`, or microseconds since 1970 UTC. Raises ValueError, with that name."""
    if since is None:
        return "earliest"
    if isinstance(since, datetime.timedelta):
        return _ago(since.total_seconds())
    if isinstance(since, datetime.datetime):
        return _microseconds(since, name)
    text = since.strip()
    if text.lower() in ENDS:
        return text.lower()
    try:
        return _ago(duration(text))
    except ValueError:
        pass  # it may be a time
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}={since!r}: {EXPECTED}") from None
    return _microseconds(moment, name)


def _ago(seconds: float) -> int:
    return _bounded((time.time() - seconds) * 1e6)


def _bounded(microseconds: float) -> int:
    """Within what every stream can be asked for."""
    return round(min(max(microseconds, 0), LAST))


def _microseconds(moment: datetime.datetime, name: str) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{name}={moment.isoformat()!r}: it needs a time zone: {moment.isoformat()}+00:00 for UTC")
    return _bounded(moment.timestamp() * 1e6)
