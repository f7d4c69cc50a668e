"""What tests of `replay` share: the command as a process, receivers that are not ours, streams with events in them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from celery_event_bridge.contract import JSON, Event, Record
from celery_event_bridge.forward.decode import decode
from tests.support import oracle
from tests.support.bridges import clean_environment, dying_with_us, run_to_end
from tests.support.servers.debian import ROOT
from tests.support.stores import FULL
from tests.support.streams import Stream

HAPPENED = 1_600_000_000
"""When the first of `happened` has, in seconds since 1970."""


def replay(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "replay", *arguments, **settings)


def start_replay(*arguments: str, module: str = "celery_event_bridge", **settings: str) -> subprocess.Popen[str]:
    """As a process that the test may signal."""
    return subprocess.Popen(
        dying_with_us([sys.executable, "-m", module, "replay", *arguments]),
        cwd=ROOT,
        env=clean_environment() | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Receiver:
    """A plain queue bound to a vhost's `celeryev`, and nothing of ours in it."""

    NAME = "receiver"

    def __init__(self, url: str, *, key: str = "#", arguments: dict[str, Any] | None = None) -> None:
        self.url = url
        connection = oracle.broker(url)
        channel = connection.channel()
        channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        channel.queue_declare(self.NAME, durable=True, auto_delete=False, arguments=arguments)
        channel.queue_bind(self.NAME, "celeryev", key)
        connection.close()

    def depth(self) -> int:
        return oracle.depth(self.url, self.NAME)

    def remove(self) -> None:
        connection = oracle.broker(self.url)
        connection.channel().queue_delete(self.NAME)
        connection.close()

    def messages(self) -> list[Any]:
        """All of them, taken out, in order."""
        return oracle.drain(self.url, self.NAME)


def as_sent(message: Any) -> tuple[Any, ...]:
    """All of a message but its delivery: body, routing key, properties, headers."""
    return message.body, message.delivery_info["routing_key"], message.properties


def happened(count: int, *, apart: float = 1.0, tasks: int = 0) -> list[Event]:
    """Events of many tasks, or of so many, that happened so many seconds after one another."""
    bodies = [
        msgspec.json.encode(
            {
                "type": "task-started",
                "hostname": f"w{number % 5}@test",
                "uuid": f"{number % tasks if tasks else number:032x}",
                "timestamp": HAPPENED + number * apart,
                "clock": number,
            }
        )
        for number in range(count)
    ]
    return [event for body in bodies for event in decode(body, JSON, {}).events]


def ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


INTERRUPTED = 130


def committed(stream: Stream) -> int:
    """The position of the only group."""
    path = stream.url.removeprefix("sqlite:///")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT position FROM bridge_readers").fetchone()[0])
    finally:
        connection.close()


# Stop and resume ----------------------------------------------------------------------------------------------------

COUNT = 60_000 if FULL else 6_000


def record(event: Event, position: int = 0, **changes: object) -> Record:
    """The event as a stream without a key or microseconds gives it back."""
    milliseconds = None if event.time is None else event.time // 1000 * 1000
    made = Record(
        "p",
        position,
        event.id,
        event.type,
        event.source,
        event.subject,
        milliseconds,
        event.data,
        event.content_type,
        7,
    )
    return msgspec.structs.replace(made, **changes)
