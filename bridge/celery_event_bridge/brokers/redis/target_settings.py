"""Settings for another Redis, or another database of the same, as `replay --to` names it."""

from __future__ import annotations

import json
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from celery_event_bridge.brokers.redis.settings import Settings


def at_url(settings: Settings, url: str) -> Settings:
    """Return the settings with that URL; user and password are those of BRIDGE_BROKER_URL if it is the same server.

    Raises ValueError with a text that says what is allowed, and repeats nothing of the URL.
    """
    try:
        there = Settings.model_validate(
            {"broker_url": url, "broker_transport_options": json.dumps(settings.broker_transport_options)}
        )
    except ValidationError as exc:
        wrong = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    else:
        ours = {
            (each.host, each.port): own for each, own in zip(settings.addresses, settings.broker_urls, strict=False)
        }
        first = there.addresses[0]
        own = ours.get((first.host, first.port))
        if own is None or "@" in urlsplit(url).netloc:
            return settings.model_copy(update={"broker_url": url})
        login = urlsplit(own).netloc.rpartition("@")[0]
        parts = urlsplit(url)
        netloc = f"{login}@{parts.netloc}" if login else parts.netloc
        return settings.model_copy(update={"broker_url": urlunsplit(parts._replace(netloc=netloc))})
    raise ValueError(wrong)
