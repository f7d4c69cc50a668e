"""An event as a record of Kafka: CloudEvents 1.0 in binary mode. What is the same for all of a worker is made once."""

from __future__ import annotations

import datetime
from urllib.parse import quote

from celery_event_bridge.contract import Event
from celery_event_sinks.kafka.times import Times

KINDS = 4096
"""Kept at most: one for each worker, type of event, content type and broker."""

Header = tuple[str, str | bytes | None]
Kind = tuple[str, str, str, str | None]
"""Type, source, content type and the broker's name."""

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Records:
    """Headers and timestamps of records. Call `recorded_now` for each batch: one time is in all of its records."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, list[Header]] = {}
        self._recorded: Header = ("ce_recordedtime", b"")
        self._earliest = self._latest = 0
        self.now = 0

    def recorded_now(self, times: Times) -> None:
        """Record what follows as of now, in topics that take these times."""
        now = datetime.datetime.now(datetime.UTC)
        self.now = int(now.timestamp() * 1000)
        self._earliest, self._latest = max(1, self.now - times.behind), self.now + times.ahead
        text = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._recorded = ("ce_recordedtime", text.encode())

    def timestamp(self, event: Event) -> int:
        """Milliseconds since 1970: the event's own time, or now where the topic would not take or keep that."""
        if event.time is None:
            return self.now
        at = event.time // 1000
        return at if self._earliest <= at <= self._latest else self.now

    def time_now(self, _: Event) -> int:
        """Milliseconds since 1970 of now, whatever the event's own time is."""
        return self.now

    def headers(self, event: Event, timestamp: int) -> list[Header]:
        """Return what CloudEvents asks for, the content type, and the event's time where the record's is another."""
        kind = (event.type, event.source, event.content_type, event.broker)
        headers = [*(self._kinds.get(kind) or self._kind(kind)), ("ce_id", event.id), self._recorded]
        if event.subject is not None:
            headers.append(("ce_subject", event.subject.encode()))  # as text it would end at a NUL
        if timestamp == self.now and event.time is not None:
            headers.append(("ce_time", _time(event.time)))
        return headers

    def _kind(self, kind: Kind) -> list[Header]:
        event_type, source, content_type, broker = kind
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        headers: list[Header] = [
            ("ce_specversion", b"1.0"),
            ("ce_type", f"celery.{event_type}".encode()),
            ("ce_source", _uri(source).encode()),
            ("content-type", content_type.encode()),
        ]
        if broker is not None:
            headers.append(("ce_broker", broker.encode()))
        self._kinds[kind] = headers
        return headers


def _uri(source: str) -> str:
    """Return a host name as the relative URI reference that `ce_source` has to be."""
    return quote(source, safe="@!$&'()*+,;=-._~", errors="surrogatepass")


def _time(microseconds: int) -> bytes:
    """Return a time as CloudEvents writes it."""
    moment = EPOCH + datetime.timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
