"""Moments as people write them on a command line: `10m`, `1h30m`, `14:00`, `yesterday`, `2030-01-31`, a whole time.

What has no time zone is meant in this machine's, as `tail` prints it; the library asks for one instead.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import click

from celery_event_bridge.contract.values import duration
from celery_event_bridge.reading.since import ENDS, start

EXPECTED = (
    "expected an age such as 10m, 2d or 1h30m, a time such as 14:00, 2030-01-31 or 2030-01-31T12:00:00Z, now, today, "
    "yesterday, earliest or latest"
)
BEFORE_ALL = 1e10
"""Seconds, some 317 years: no stream goes back further."""
_AGES = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.IGNORECASE)
_AGE = re.compile(r"\d+(?:\.\d+)?(?:ms|[smhdw])", re.IGNORECASE)
_OF_A_DAY = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?")


def moment(text: str, name: str, now: datetime.datetime | None = None) -> str | int:
    """Return `earliest`, `latest`, or microseconds since 1970 UTC. Raises ValueError, with that name.

    A time of day is the last one: at 10:00, 14:00 is yesterday's.
    """
    now = datetime.datetime.now().astimezone() if now is None else now
    word = text.strip()
    if word.lower() in ENDS:
        return word.lower()
    try:
        return start(_meant(word, now), name)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}={text!r}: {EXPECTED}") from None


def moment_of(ctx: click.Context, option: str, text: str | None) -> str | int | None:
    """Return the moment that an option names, None where it is not given. Raises a usage error."""
    try:
        return None if text is None else moment(text, option)
    except ValueError as exc:
        raise click.UsageError(f"--{exc}", ctx) from exc


def as_since(found: str | int | None) -> str | datetime.datetime | None:
    """Return a moment as `open_reader` takes it."""
    if not isinstance(found, int):
        return found
    return datetime.datetime.fromtimestamp(found / 1e6, datetime.UTC)


def refuse_backwards(ctx: click.Context, texts: tuple[Any, Any], since: Any, until: Any) -> None:
    """Raise a usage error for a period that holds nothing. Moments in microseconds; others have no order."""
    if isinstance(since, int) and isinstance(until, int) and since >= until:
        raise click.UsageError(f"--since {texts[0]} is not before --until {texts[1]}", ctx)


def is_fixed(text: str) -> bool:
    """Return whether the text means the same moment whenever it is read: a day and a time, or an end of the stream."""
    word = text.strip()
    return word.lower() in ENDS or _iso(word) is not None


def _meant(word: str, now: datetime.datetime) -> str | datetime.datetime | datetime.timedelta:
    days = {"now": now, "today": _midnight(now), "yesterday": _midnight(now) - datetime.timedelta(days=1)}
    if (named := days.get(word.lower())) is not None:
        return named
    if _AGES.fullmatch(word):
        seconds = sum(float(duration(each)) for each in _AGE.findall(word))
        return datetime.timedelta(seconds=min(seconds, BEFORE_ALL))
    if _OF_A_DAY.fullmatch(word):
        of_today = datetime.datetime.combine(
            now.date(), datetime.time.fromisoformat(word if word[1] != ":" else f"0{word}"), now.tzinfo
        )
        return of_today if of_today <= now else of_today - datetime.timedelta(days=1)
    found = _iso(word)
    if found is None:
        return word
    return found if found.tzinfo is not None else found.astimezone()


def _iso(word: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(word)
    except ValueError:
        return None


def _midnight(now: datetime.datetime) -> datetime.datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
