"""Sinks into a Redis Cluster."""

from __future__ import annotations

from typing import Any

from celery_event_sinks.redis.plugin import PLUGIN
from celery_event_sinks.redis.settings import RedisSettings
from tests.support.closing import close_later

SHARDS = 6
STREAMS = [b"celery-events:{%d}" % shard for shard in range(SHARDS)]


def sink(url: str, *, ordered: bool = False, **settings: Any) -> Any:
    given = RedisSettings(url=url, **{"shards": SHARDS, **settings})
    made = PLUGIN.in_order(given) if ordered else PLUGIN(given)
    close_later(made)
    return made


def opened(url: str, **settings: Any) -> Any:
    made = sink(url, **settings)
    made.open()
    made.available()
    return made
