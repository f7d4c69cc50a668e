"""Settings for another broker, or another vhost of the same, as `replay --to` names it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from celery_event_bridge.brokers.rabbitmq.settings import Settings


def at_url(settings: Settings, url: str) -> Settings:
    """Return the settings with that URL; user and password are those of BRIDGE_BROKER_URL if it is the same server.

    Raises ValueError with a text that says what is allowed, and repeats nothing of the URL.
    """
    try:
        urls = Settings.model_validate({"broker_url": url}).broker_urls
    except ValidationError as exc:
        wrong = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    else:
        known = {_server(each): urlsplit(each).netloc.rpartition("@")[0] for each in settings.broker_urls}
        there = {"broker_url": ";".join(_with_login(each, known) for each in urls)}
        is_ours = all(_server(each) in known for each in urls)
        # The management API is that of the bridge's own broker.
        return settings.model_copy(update=there if is_ours else {**there, "management_url": None})
    raise ValueError(wrong)


def _with_login(url: str, known: Mapping[tuple[str, int], str]) -> str:
    parts = urlsplit(url)
    login = known.get(_server(url))
    if "@" in parts.netloc or not login:
        return url
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or (5671 if parts.scheme == "amqps" else 5672)
