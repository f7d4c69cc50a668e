"""Readers of a Redis stream that ends before where they were, and of a Redis that was killed and is back."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis as Client

from celery_event_bridge.reader import Events
from tests.support.redis_readers import GROUP, STREAM, lines, rest, stores, take
from tests.support.redis_sinks import told
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.streams import Stream, ids, in_redis, some

AHEAD = "9999999999999-0"


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


def at_the_end(events: Events) -> None:
    """See to it that it has looked, and found nothing more."""
    events.idle = events.stop
    assert take(events, 1) == []
    events._stopping.clear()
    events.idle = None


def set_ahead(client: Client) -> None:
    """As a clock that was years ahead leaves it, or XSETID."""
    client.execute_command("XSETID", STREAM, AHEAD)


@pytest.mark.parametrize("group", [None, GROUP])
def test_a_stream_that_was_made_anew_with_lower_ids_is_read_from_its_beginning(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, group: str | None
) -> None:
    """All of it, by a reader and by a group; `tail --follow` waited for ids of the year 2286. Told with both ids."""
    set_ahead_first = some(20)
    stream.write(set_ahead_first[:1])
    set_ahead(client)
    stream.write(set_ahead_first[1:])
    with stream.reader(group) as events:
        assert [event.id for event in take(events, 20)] == ids(set_ahead_first)
        at_the_end(events)
        client.delete(STREAM)
        stream.write(some(30, 100))
        assert [event.id for event in take(events, 30)] == ids(some(30, 100))
        assert events.skipped == 0
    if group is None:
        (line,) = lines(caplog, "stream-replaced")
        assert AHEAD.partition("-")[0] in line
        assert "it was made anew by somebody, and is read from its beginning" in line


@pytest.mark.parametrize("running", [True, False])
def test_a_group_that_is_beyond_its_streams_end_reads_all_that_comes(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, running: bool
) -> None:
    """Also where the group itself is left as it was, and by its next reader, whatever it reads back at first."""
    stream.write(some(20))
    with stream.reader(GROUP) as events:
        assert events.commit(take(events, 20)[-1])
        at_the_end(events)
        if running:
            client.xgroup_setid(STREAM, GROUP, AHEAD)
            stream.write(some(20, 100))
            rest(events, set(ids(some(20, 100))), 10)
    if not running:
        client.xtrim(STREAM, maxlen=0, approximate=False)
        client.xgroup_setid(STREAM, GROUP, AHEAD)
        stream.write(some(20, 100))
        with stream.reader(GROUP) as events:
            assert rest(events, set(ids(some(20, 100))), 10) == ids(some(20, 100))
    (line,) = lines(caplog, "stream-shrunk" if running else "stream-replaced")
    assert f"before the position {AHEAD} of the group 'billing'" in line
    assert stream.all(GROUP) == []


@pytest.mark.parametrize("group", [None, GROUP])
def test_a_stream_that_has_lost_its_end_is_not_read_again_from_its_beginning(
    stream: Stream, client: Client, caplog: pytest.LogCaptureFixture, group: str | None
) -> None:
    """An older copy of it, as a promoted replica has: the reader goes on after the last entry that it knows there."""
    stream.write(some(100))
    with stream.reader(group) as events:
        events._limit = 50
        read = take(events, 100)
        if group:
            assert events.commit(read[-1])
        at_the_end(events)
        client.copy(STREAM, "older")
        set_ahead(client)
        stream.write(some(20, 100))
        read = take(events, 20)
        if group:
            assert events.commit(read[-1])
        at_the_end(events)
        client.copy("older", STREAM, replace=True)
        client.execute_command("XADD", STREAM, "*", *[part for pair in fields_of(some(1, 500)[0]) for part in pair])
        assert [event.id for event in take(events, 1)] == ids(some(1, 500))
    assert len(lines(caplog, "stream-shrunk")) == (1 if group is None else 0)  # the copy has the group as it was
    assert lines(caplog, "stream-replaced") == []


def fields_of(event: Any) -> list[tuple[str, Any]]:
    return [("data", event.data), ("id", event.id), ("type", event.type), ("source", event.source)]


def test_a_beginning_later_than_all_that_is_stored_is_no_place_in_another_stream(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """`--since` now, with nothing stored since: what comes is read, and nothing from before, by a group as well."""
    stream.write(some(20))
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    for group in (None, GROUP):
        with stream.reader(group, since=later) as events:
            at_the_end(events)
        with stream.reader(group, since=later, follow=False) as events:
            assert list(events) == []
    with stream.reader(GROUP) as events:
        stream.write(some(5, 100))
        assert rest(events, set(ids(some(5, 100)))) == ids(some(5, 100))
    assert lines(caplog, "stream-replaced") == lines(caplog, "stream-shrunk") == []


def test_a_redis_that_is_killed_again_and_again_has_no_position_set_by_anybody(own_redis: Redis) -> None:
    """It forgets how many entries a group has read, while others read on: that is no XGROUP SETID, and no skip."""
    stream = in_redis(own_redis.url)
    with stream.reader(GROUP, lease=30.0) as events, stream.reader(GROUP, lease=30.0) as of_others:
        for number in range(3):
            with own_redis.client() as client:
                client.config_set("appendfsync", "everysec")
            stream.write(some(10, 100 * number))
            assert len(rest(events, set(ids(some(10, 100 * number))))) == 10
            at_the_end(events)
            stream.write(some(50, 100 * number + 20))
            assert len(rest(of_others, set(ids(some(50, 100 * number + 20))))) == 50
            own_redis.kill()
            own_redis.start()
            until(lambda: stores(stream), 30, "Redis is back")
            at_the_end(events)
        assert (events.skipped, of_others.skipped) == (0, 0)
    assert (told("skipped"), told("group-made")) == (0, 0)
    stream.sink.close()


def test_a_position_that_is_set_while_the_connection_is_lost_is_told_of(stream: Stream, client: Client) -> None:
    """The process at the other end is the same one, so that what it has forgotten was set by somebody."""
    stream.write(some(20))
    with stream.reader(GROUP) as events:
        assert events.commit(take(events, 20)[-1])
        at_the_end(events)
        stream.write(some(20, 100))
        client.xgroup_setid(STREAM, GROUP, client.xrange(STREAM)[29][0])
        client.client_kill_filter(_type="normal", skipme=True)
        assert rest(events, set(ids(some(20, 100)[10:]))) == ids(some(20, 100)[10:])
        assert events.skipped == 10
    assert told("group-made") == 1
