"""The plug-ins `redis`: sink and reader of one server, of whoever is the master, or of a cluster."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import ClassVar

from celery_event_bridge.contract import Reader, Reading, Sink
from celery_event_sinks.redis.cluster import is_cluster
from celery_event_sinks.redis.cluster_reader import RedisClusterReader
from celery_event_sinks.redis.cluster_sink import RedisClusterSink
from celery_event_sinks.redis.in_order import OrderedRedisSink
from celery_event_sinks.redis.reader import RedisReader
from celery_event_sinks.redis.settings import RedisSettings, from_url
from celery_event_sinks.redis.sink import RedisStreamsSink


class RedisPlugin:
    """Makes the sink that the URL asks for."""

    Settings: ClassVar = RedisSettings

    def __call__(self, settings: RedisSettings) -> Sink:
        """Return one that stores as fast as it can."""
        return RedisClusterSink(settings) if is_cluster(settings.url) else RedisStreamsSink(settings)

    def in_order(self, settings: RedisSettings) -> Sink:
        """Return one that keeps the order of each stream."""
        return RedisClusterSink(settings, in_order=True) if is_cluster(settings.url) else OrderedRedisSink(settings)


class RedisReaders:
    """Makes the reader that the URL asks for."""

    sink: ClassVar[str] = "redis"
    Settings: ClassVar = RedisSettings

    def __call__(self, settings: RedisSettings, reading: Reading) -> Reader:
        """Return one for these settings."""
        return (RedisClusterReader if is_cluster(settings.url) else RedisReader)(settings, reading)

    @staticmethod
    def from_url(url: str, settings: RedisSettings) -> Mapping[str, str]:
        """`redis://host:6379/0?stream=celery-events`; user and password those of the settings for the same server."""
        return from_url(url, settings)

    @staticmethod
    def identity(settings: RedisSettings) -> Set[Hashable]:
        """Return the ids of the servers. Raises SinkUnavailable."""
        return (RedisClusterReader if is_cluster(settings.url) else RedisReader).identity(settings)


PLUGIN, READERS = RedisPlugin(), RedisReaders()
