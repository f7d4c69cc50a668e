"""An event as a record of Kafka, and back."""

from __future__ import annotations

import msgspec

from celery_event_bridge.testing import sample_events
from celery_event_sinks.kafka import stored
from celery_event_sinks.kafka.records import Records
from celery_event_sinks.kafka.times import Times


class Found:
    """A message with these headers, as a consumer gives it."""

    def __init__(self, headers: list[tuple[str, bytes]]) -> None:
        self._headers = headers

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def value(self) -> bytes:
        return b"{}"

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000

    def offset(self) -> int:
        return 7

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0


def test_the_brokers_name_is_a_header_where_there_is_one() -> None:
    """And no other header is changed by it; events of several brokers may be in one batch, as `replay` writes them."""
    records = Records()
    records.recorded_now(Times())
    (event,) = sample_events(1)
    plain = records.headers(event, 0)
    named = [records.headers(msgspec.structs.replace(event, broker=name), 0) for name in ("eu", "zürich", "eu")]
    assert "ce_broker" not in dict(plain)
    assert [b"eu", "zürich".encode(), b"eu"] == [dict(headers)["ce_broker"] for headers in named]
    for headers in named:
        assert plain == [header for header in headers if header[0] != "ce_broker"]
    assert plain == records.headers(event, 0)


def test_the_brokers_name_is_read_back() -> None:
    """A record without one has none."""
    headers = [("ce_id", b"i"), ("ce_type", b"celery.t"), ("ce_source", b"w")]
    assert stored.record(0, Found(headers)).broker is None
    assert "zürich" == stored.record(0, Found([*headers, ("ce_broker", "zürich".encode())])).broker
    (foreign,) = [stored.record(0, Found([*headers, ("ce_broker", b"\xff")]))]
    assert foreign.problem is not None
