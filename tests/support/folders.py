"""Celery's transport `filesystem`: its options, what is published there, and workers that send events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import kombu

from celery_event_bridge.brokers.kombu.settings import Settings
from tests.support.bridges import clean_environment, dying_with_us


class Folders:
    """Folders of one broker."""

    def __init__(self, path: Path) -> None:
        self.messages = path / "messages"
        self.messages.mkdir()
        self.options = {
            "data_folder_in": str(self.messages),
            "data_folder_out": str(self.messages),
            "control_folder": str(path / "control"),
        }

    @cached_property
    def variables(self) -> dict[str, str]:
        """A bridge's settings."""
        return {"BRIDGE_BROKER_URL": "filesystem://", "BRIDGE_BROKER_TRANSPORT_OPTIONS": json.dumps(self.options)}

    def settings(self, **others: Any) -> Settings:
        """Settings of the plug-in."""
        return Settings(broker_url="filesystem://", broker_transport_options=json.dumps(self.options), **others)

    def publish(self, bodies: Sequence[bytes], routing_key: str = "task.sent") -> None:
        """Publish as Celery does, by kombu."""
        publish("filesystem://", bodies, routing_key, self.options)

    def waiting(self, queue: str = "celeryev.bridge") -> list[Path]:
        """Files of a queue."""
        return sorted(self.messages.glob(f"*.{queue}.msg"))

    def in_hand(self, queue: str = "celeryev.bridge") -> list[Path]:
        """Files that replicas have in hand, or have left behind."""
        return sorted((self.messages / f".{queue}").glob("*/*.msg"))

    def bound(self) -> set[str]:
        """Queues that are bound."""
        with suppress(FileNotFoundError):
            table = json.loads((Path(self.options["control_folder"]) / "celeryev.exchange").read_text())
            return {queue for *_, queue in table}
        return set()


def publish(url: str, bodies: Sequence[bytes], routing_key: str, options: dict[str, Any]) -> None:
    """Publish each body into the exchange of the events."""
    exchange = kombu.Exchange("celeryev", type="topic")
    with kombu.Connection(url, transport_options=options) as connection, connection.channel() as channel:
        producer = kombu.Producer(channel, exchange)
        for body in bodies:
            producer.publish(body, routing_key=routing_key, content_type="application/json", content_encoding="utf-8")


def started_worker(app: Path, log: Path) -> subprocess.Popen[bytes]:
    """A real worker of the app in that file, which sends events."""
    command = [sys.executable, "-m", "celery", "-A", app.stem, "worker", "-E", "-c", "1", "--loglevel", "info"]
    with log.open("wb") as output:
        return subprocess.Popen(
            dying_with_us(command),
            cwd=app.parent,
            env=clean_environment() | {"PYTHONPATH": os.pathsep.join([str(app.parent)])},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
