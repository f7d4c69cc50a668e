"""The plug-ins for kombu's transports do what every broker's has to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import kombu
import pytest

from celery_event_bridge.brokers.envelope import Heard, opened
from celery_event_bridge.brokers.kombu.plugin import FilesystemBroker, KombuBroker
from celery_event_bridge.brokers.kombu.settings import Settings
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.testing import BrokerContract
from tests.support.folders import Folders, publish


class OnKombu(BrokerContract):
    """What both have in common."""

    def message(self, content: bytes) -> Message:
        return Heard("a lane", 1, content, "application/json", {}, routing_key="task.sent")


class TestFilesystem(OnKombu):
    """See `BrokerContract`."""

    keeps_order = False  # kombu's names of files tell milliseconds

    @pytest.fixture
    def folders(self, tmp_path: Path) -> Folders:
        return Folders(tmp_path)

    @pytest.fixture
    def make_broker(self, folders: Folders) -> Callable[[], FilesystemBroker]:
        return lambda: FilesystemBroker(folders.settings())

    @pytest.fixture
    def publish(self, folders: Folders) -> Callable[[Sequence[bytes]], None]:
        return folders.publish

    @pytest.fixture
    def parked(self, folders: Folders) -> Callable[[], list[bytes]]:
        return lambda: [opened(path.read_bytes(), None, 0).body for path in folders.waiting("celeryev.bridge.rejected")]


class TestMemory(OnKombu):
    """See `BrokerContract`."""

    @pytest.fixture
    def make_broker(self) -> Iterator[Callable[[], KombuBroker]]:
        yield lambda: KombuBroker(Settings(broker_url="memory://", broker_transport_options=json.dumps({})))
        with kombu.Connection("memory://") as connection, connection.channel() as channel:
            for queue in ("celeryev.bridge", "celeryev.bridge.rejected"):
                channel.queue_delete(queue)
                channel.queue_purge(queue)

    @pytest.fixture
    def publish(self) -> Callable[[Sequence[bytes]], None]:
        return lambda bodies: publish("memory://", bodies, "task.sent", {})

    @pytest.fixture
    def parked(self) -> Callable[[], list[bytes]]:
        def parked() -> list[bytes]:
            with kombu.Connection("memory://") as connection, connection.channel() as channel:
                found = iter(lambda: channel.basic_get("celeryev.bridge.rejected", no_ack=True), None)
                return [bytes(message.body) for message in found]

        return parked
