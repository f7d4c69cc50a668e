"""The plug-in `redis`: a sink for one server, or whoever is the master, or for a cluster."""

from __future__ import annotations

from typing import ClassVar

from celery_event_bridge.contract import Sink
from celery_event_sinks.redis.cluster import is_cluster
from celery_event_sinks.redis.cluster_sink import RedisClusterSink
from celery_event_sinks.redis.in_order import OrderedRedisSink
from celery_event_sinks.redis.settings import RedisSettings
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


PLUGIN = RedisPlugin()
