"""An event as a record of Kafka: CloudEvents 1.0 in binary mode. What is the same for all of a worker is made once."""

from __future__ import annotations

import datetime
from urllib.parse import quote

from celery_event_bridge.contract import Event

LATEST = 5 * 60 * 1000
"""Milliseconds that an event's time may be ahead of ours; Kafka 4 refuses records of more than an hour ahead."""
KINDS = 4096
"""Kept at most: one for each worker, type of event and content type."""

Header = tuple[str, str | bytes | None]


class Records:
    """Headers and timestamps of records. Call `recorded_now` for each batch: one time is in all of its records."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], list[Header]] = {}
        self._recorded: Header = ("ce_recordedtime", b"")
        self._now = 0

    def recorded_now(self) -> None:
        """What follows is recorded now."""
        now = datetime.datetime.now(datetime.UTC)
        self._now = int(now.timestamp() * 1000)
        text = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._recorded = ("ce_recordedtime", text.encode())

    def timestamp(self, event: Event) -> int:
        """Milliseconds since 1970: the event's own time, or now where Kafka would not take that."""
        if event.time is None:
            return self._now
        at = event.time // 1000
        return at if 0 < at <= self._now + LATEST else self._now

    def headers(self, event: Event) -> list[Header]:
        """All that CloudEvents asks for, and the content type."""
        kind = (event.type, event.source, event.content_type)
        headers = [*(self._kinds.get(kind) or self._kind(kind)), ("ce_id", event.id), self._recorded]
        if event.subject is not None:
            headers.append(("ce_subject", event.subject.encode()))  # as text it would end at a NUL
        return headers

    def _kind(self, kind: tuple[str, str, str]) -> list[Header]:
        event_type, source, content_type = kind
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        headers: list[Header] = [
            ("ce_specversion", b"1.0"),
            ("ce_type", f"celery.{event_type}".encode()),
            ("ce_source", _uri(source).encode()),
            ("content-type", content_type.encode()),
        ]
        self._kinds[kind] = headers
        return headers


def _uri(source: str) -> str:
    """A host name as the relative URI reference that `ce_source` has to be."""
    return quote(source, safe="@!$&'()*+,;=-._~", errors="surrogatepass")
