"""Standard output: a line of JSON an event, for a look or for a pipe."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from celery_event_bridge.contract import JSON, BlockingSink, Event, SinkGone, SinkUnavailable


class StdoutSettings(BaseModel):
    """Settings, of which there are none."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StdoutSink(BlockingSink):
    """Lines to a pipe or terminal. One that is not read holds the bridge up, as a full pipe does."""

    name = "stdout"
    Settings = StdoutSettings

    def __init__(self, settings: StdoutSettings) -> None:  # noqa: ARG002 - every sink is given its settings
        super().__init__()

    @classmethod
    def in_order(cls, settings: StdoutSettings) -> StdoutSink:
        """Return one that keeps the order: each does, as a pipe takes what is written first first."""
        return cls(settings)

    def store(self, events: Sequence[Event]) -> None:
        """Write the lines, past Python's buffer: a line counts as stored when the pipe has it."""
        rest = memoryview(b"".join(line(event) for event in events))
        if sys.stdout is None:
            raise SinkGone("standard output is closed")
        try:
            descriptor = sys.stdout.fileno()
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError as exc:
            raise SinkGone("standard output was closed by its reader") from exc
        except OSError as exc:
            raise SinkUnavailable(f"standard output: {exc.strerror}") from exc


def line(event: Event) -> bytes:
    """Write an event as a line: `data` is its JSON as it was sent, or `data_base64` what is not JSON on one line."""
    record = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "key": event.key,
        "time": event.time,
        "content_type": event.content_type,
    }
    if event.broker is not None:
        record["broker"] = event.broker
    head = json.dumps(record, ensure_ascii=False).encode()[:-1]
    if event.content_type == JSON and b"\n" not in event.data and b"\r" not in event.data:
        return b'%b, "data": %b}\n' % (head, event.data)
    return b'%b, "data_base64": "%b"}\n' % (head, base64.b64encode(event.data))
