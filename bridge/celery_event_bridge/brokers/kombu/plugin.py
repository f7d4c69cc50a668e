"""Transports of kombu that carry events, as plug-ins. Each part is imported where it is made, and kombu with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.brokers.kombu import settings as own
from celery_event_bridge.contract.broker import Parking, Source

if TYPE_CHECKING:
    from celery_event_bridge.contract import Finding
    from celery_event_bridge.contract.broker_plugin import LiveEvents, ParkedMessages, Queues

PAUSES = {"memory": 0.02}
"""Seconds between two looks at an empty queue, by scheme."""
PAUSE = 0.1


class KombuBroker:
    """See the protocol `celery_event_bridge.contract.broker_plugin.BrokerPlugin`: `memory://` and `mongodb://`."""

    schemes: ClassVar = own.MEMORY | own.MONGODB
    Settings: ClassVar = own.Settings

    def __init__(self, settings: own.Settings) -> None:
        self._settings = settings

    def source(self, location: Callable[[], str]) -> Source:  # noqa: ARG002 - nobody else can be told of it
        """Return the queue's end."""
        from celery_event_bridge.brokers.kombu.queue import ChannelQueue
        from celery_event_bridge.brokers.kombu.source import KombuSource

        return KombuSource(self._settings, ChannelQueue(self._settings, PAUSES.get(self._settings.scheme, PAUSE)))

    def parking(self) -> Parking:
        """Return what publishes into the queue of parked messages."""
        from celery_event_bridge.brokers.kombu.parking import ChannelParking

        return ChannelParking(self._settings)

    def findings(self, location: Callable[[], str]) -> Iterator[Finding]:
        """Yield a verdict on the broker, its queue, and what is lost when."""
        from celery_event_bridge.brokers.kombu.checks import findings

        return findings(self._settings, location)

    def names(self) -> Mapping[str, str]:
        """Return the queue."""
        return {"queue": self._settings.queue}


class FilesystemBroker(KombuBroker):
    """Transport `filesystem`, where more can be promised and done; see also the optional protocols."""

    schemes: ClassVar = own.FILESYSTEM

    def source(self, location: Callable[[], str]) -> Source:
        """Return the folder's end."""
        from celery_event_bridge.brokers.kombu.folder import FolderQueue
        from celery_event_bridge.brokers.kombu.source import KombuSource

        return KombuSource(self._settings, FolderQueue(self._settings, location))

    def parking(self) -> Parking:
        """Return what writes the files of parked messages."""
        from celery_event_bridge.brokers.kombu.parking import FolderParking

        return FolderParking(self._settings)

    def names(self) -> Mapping[str, str]:
        """Return the queue and the folder."""
        return {"queue": self._settings.queue, "folder": str(self._settings.folder_in)}

    def shared_with(self, location: str) -> str | None:
        """Name who takes events off the same folder and stores elsewhere."""
        from celery_event_bridge.brokers.kombu.checks import who_shares

        return who_shares(self._settings, location)

    def queues(self) -> AbstractContextManager[Queues]:
        """Return the queues as an operator handles them."""
        from celery_event_bridge.brokers.kombu.operator_queues import queues

        return queues(self._settings)

    def parked(self) -> AbstractContextManager[ParkedMessages]:
        """Return what is parked."""
        from celery_event_bridge.brokers.kombu.parked import parked_files

        return parked_files(self._settings)

    def tap(self) -> LiveEvents:
        """Bind a queue beside the bridge's."""
        from celery_event_bridge.brokers.kombu.tap import Tap

        return Tap(self._settings)
