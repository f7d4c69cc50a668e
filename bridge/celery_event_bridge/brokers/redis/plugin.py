"""Redis as a plug-in. Imports no client: each part is imported where it is made, since no command needs them all.

Without the clients it is no plug-in at all, and who asks for it is told which extra has them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.brokers.redis import settings as own
from celery_event_bridge.contract.broker import Parking, Source

if TYPE_CHECKING:
    from celery_event_bridge.contract import Finding
    from celery_event_bridge.contract.broker_plugin import LiveEvents, ParkedMessages
    from celery_event_bridge.contract.target import Target


for _name in ("redis", "hiredis"):
    if importlib.util.find_spec(_name) is None:
        raise ModuleNotFoundError(f"No module named {_name!r}", name=_name)


class RedisBroker:
    """See the protocol `celery_event_bridge.contract.broker_plugin.BrokerPlugin`, and the optional ones beside it."""

    schemes: ClassVar = own.SCHEMES
    Settings: ClassVar = own.Settings

    def __init__(self, settings: own.Settings) -> None:
        self._settings = settings

    def source(self, location: Callable[[], str]) -> Source:
        """Return the subscriber."""
        from celery_event_bridge.brokers.redis.source import RedisSource

        return RedisSource(self._settings, self._whole(location))

    def parking(self) -> Parking:
        """Return what adds to the list of parked messages."""
        from celery_event_bridge.brokers.redis.parking import RedisParking

        return RedisParking(self._settings)

    def findings(self, location: Callable[[], str]) -> Iterator[Finding]:
        """Yield a verdict on each server, its version and rights, the lease, and whether events come."""
        from celery_event_bridge.brokers.redis.checks import findings

        return findings(self._settings, self._whole(location))

    def names(self) -> Mapping[str, str]:
        """Return what the replicas share, and the channel of the events."""
        return {"queue": self._settings.queue, "channel": self._settings.names.base.decode()}

    def shared_with(self, location: str) -> str | None:
        """Name who forwards by the same lease and stores elsewhere."""
        from celery_event_bridge.brokers.redis.checks import who_shares

        return who_shares(self._settings, self._whole(lambda: location)())

    def parked(self) -> AbstractContextManager[ParkedMessages]:
        """Connect as an operator of the list of parked messages."""
        from celery_event_bridge.brokers.redis.parked import parked_messages

        return parked_messages(self._settings)

    def _whole(self, location: Callable[[], str]) -> Callable[[], str]:
        """Return what says where which events are stored: others on the same lease may hear another channel."""
        names, database = self._settings.names, self._settings.addresses[0].database
        if names.base == f"/{database}.celeryev".encode():
            return location
        return lambda: f"{location()}, from channel {names.base.decode()}"

    def target(self, url: str, *, again: bool) -> Target:
        """Connect to a broker's event channel, to publish there."""
        from celery_event_bridge.brokers.redis.target import RedisTarget
        from celery_event_bridge.brokers.redis.target_settings import at_url

        return RedisTarget(at_url(self._settings, url), again=again)

    def tap(self) -> LiveEvents:
        """Subscribe beside the bridge."""
        from celery_event_bridge.brokers.redis.tap import Tap

        return Tap(self._settings)
