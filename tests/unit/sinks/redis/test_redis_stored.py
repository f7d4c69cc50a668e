"""An event as an entry of Redis, and back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from redis.connection import Connection

from celery_event_bridge.contract import Event
from celery_event_bridge.testing import sample_events
from celery_event_sinks.redis.commands import EntryPacker
from celery_event_sinks.redis.stored import record
from celery_event_sinks.redis.trim import Trim

NAMES = (None, "eu", "zürich")


def words(packer: EntryPacker, event: Event) -> Sequence[bytes]:
    """The words of its command, which are the same where it is stored again for want of its entry."""
    again = packer.again(event, b"s", None)
    assert packer.pack([event], [b"s"], once=False) == [b"".join(Connection().pack_command(*again))]
    return again


def test_an_entry_is_read_back_as_it_was_written() -> None:
    """With each field that an event has and none that it has not; events of several brokers may be in one batch."""
    packer = EntryPacker(Trim("never"))
    for event in sample_events(12):
        for name in NAMES:
            named = msgspec.structs.replace(event, broker=name)
            fields = words(packer, named)[3:]
            read = record(0, (7, 0), fields)
            assert (event.id, event.type, event.source, event.subject) == (
                read.id,
                read.type,
                read.source,
                read.subject,
            )
            assert (event.time, event.data, event.content_type) == (read.time, read.data, read.content_type)
            assert (name, None) == (read.broker, read.problem)


def test_the_brokers_name_is_a_field_where_there_is_one() -> None:
    """And no other word is changed by it but their number."""
    packer = EntryPacker(Trim("never"))
    for event in sample_events(12):
        plain = words(packer, event)
        assert b"broker" not in plain
        assert [*plain, b"broker", b"eu"] == words(packer, msgspec.structs.replace(event, broker="eu"))
        assert plain == words(packer, event)
