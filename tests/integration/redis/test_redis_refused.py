"""Readers of Redis where a reader can never read: a key of another type, a wrong login."""

from __future__ import annotations

import pytest

from celery_event_bridge.contract import StreamRefused
from celery_event_bridge.reader import open_reader
from tests.support.servers import Redis

LONG = 5.0
"""Seconds of an outage that is waited out."""


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("follow", [False, True])
def test_a_key_that_is_no_stream_is_refused(own_redis: Redis, group: str | None, follow: bool) -> None:
    """At once where a reader gives up at all, and with the name of the key."""
    with own_redis.client() as client:
        client.set("celery-events", "a text")
    with pytest.raises(StreamRefused, match=r"WRONGTYPE .*: the key 'celery-events' is no stream"):
        next(open_reader(own_redis.url, group, follow=follow, give_up_after=LONG))


def test_what_redis_says_is_put_into_a_sentence(own_redis: Redis) -> None:
    """Redis ends some errors with a full stop, and no remedy comes after one."""
    with own_redis.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=["+right"], commands=["+@all"], keys=["*"])
    url = own_redis.url.replace("redis://", "redis://reader:wrong@")
    with pytest.raises(StreamRefused, match="user is disabled: check user and password in"):
        open_reader(url, follow=False, give_up_after=LONG)
