"""Readers of Redis need no more rights than the page on reading says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import open_reader
from tests.support.servers import Redis
from tests.support.streams import Stream, handle, ids, in_redis, some

PAGE = Path(__file__).parents[3] / "docs/how-to/read-events.md"
STREAM = "celery-events"


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


def commands(group: str | None) -> list[str]:
    """Those that the page names, for a reader by itself or for one of a group."""
    found = re.search(r"^\| Redis \| `([A-Z ]+)`; with a group `([A-Z ]+)` too", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    return (found[1] if group is None else f"{found[1]} {found[2]}").lower().split()


@pytest.mark.parametrize("group", [None, "billing"])
def test_the_rights_that_are_documented_are_enough(own_redis: Redis, stream: Stream, group: str | None) -> None:
    """A stream is read to its end, and one that is not there yet is said to be absent, not forbidden."""
    with own_redis.client() as client:
        rights = [f"+{command}" for command in commands(group)]
        client.acl_setuser("reader", enabled=True, passwords=["+pw"], commands=rights, keys=[STREAM])
    url = own_redis.url.replace("redis://", "redis://reader:pw@")
    if group is None:
        with pytest.raises(SinkUnavailable, match="there is no stream"):
            open_reader(url, follow=False, give_up_after=0.0)
    stream.write(some(20))
    with open_reader(url, group, follow=False, give_up_after=0.0) as events:
        assert handle(events) == ids(some(20))
