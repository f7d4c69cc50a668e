"""What others change around readers of Redis: failover, entries gone, a stuck connection, a password."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_bridge.reader import open_reader
from celery_event_sinks.redis.reader import RedisReader
from celery_event_sinks.redis.settings import RedisSettings
from tests.faults.proxy import Mode, Proxy
from tests.support.redis_readers import GROUP, STREAM, lines, rest, stores, take
from tests.support.redis_sinks import port, replicate, through, told
from tests.support.servers import Redis, redis
from tests.support.servers.debian import PATIENCE, until
from tests.support.streams import Stream, ids, in_redis, some


@pytest.fixture
def stream(own_redis: Redis) -> Iterator[Stream]:
    made = in_redis(own_redis.url)
    yield made
    made.sink.close()


# The name leads elsewhere -------------------------------------------------------------------------------------------


def test_a_group_follows_the_name_to_the_new_master(
    own_redis: Redis, stream: Stream, client: Client, proxy: Proxy
) -> None:
    """Commits and reads go on there, without a new reader; what is committed does not come again."""
    all_of_it = some(300)
    stream.write(all_of_it[:200])
    with redis(own=True) as other, other.client() as second:
        with open_reader(through(proxy), GROUP, lease=1.0) as events:
            first = take(events, 50)
            assert events.commit(first[-1])
            replicate(second, own_redis.url)
            until(lambda: client.xpending(STREAM, GROUP) == second.xpending(STREAM, GROUP), 20, "it has it all")
            second.replicaof("NO", "ONE")
            proxy.lead_to(port(other.url))
            client.replicaof("127.0.0.1", str(port(other.url)))
            in_redis(other.url).write(all_of_it[200:])
            found = rest(events, set(ids(all_of_it[50:])))
        assert set(found) == set(ids(all_of_it[50:]))


# A connection that trickles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "fetch", "renew_lease", "commit", "close"])
@pytest.mark.parametrize("group", [GROUP, None])
def test_a_trickle_ends_every_call_of_a_reader(stream: Stream, proxy: Proxy, call: str, group: str | None) -> None:
    """One byte every two seconds keeps none for more than a few seconds, and the reason says what is stuck."""
    if group is None and call in ("open", "renew_lease", "commit"):
        pytest.skip("nothing is asked without a group")
    stream.write(some(100))
    reader = RedisReader(RedisSettings(url=through(proxy)), Reading(group=group, lease=1.0))
    records = []
    if call != "open":
        reader.open()
        records = list(reader.fetch(10, 0.5).records)
    proxy.pace, proxy.replies_only, proxy.mode = 2.0, True, Mode.TRICKLE
    began = time.monotonic()
    if call == "close":
        reader.close()
    else:
        with pytest.raises(SinkUnavailable, match="the connection is stuck"):
            {
                "open": reader.open,
                "fetch": lambda: reader.fetch(10, 0.5),
                "renew_lease": reader.renew_lease,
                "commit": lambda: reader.commit({records[0].partition: [one.position for one in records]}),
            }[call]()
    assert time.monotonic() - began < 15 * PATIENCE
    proxy.heal()
    proxy.cut()
    reader.close()


# Entries that are gone ----------------------------------------------------------------------------------------------


def test_a_trim_that_overtakes_a_group(
    own_redis: Redis, stream: Stream, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning has the number that is gone, the reader counts it; `audit` says so before, and exits with 1."""
    all_of_it = some(120)
    stream.write(all_of_it[:10])
    assert stream.all(GROUP) == ids(all_of_it[:10])
    stream.write(all_of_it[10:100])
    client.xtrim(STREAM, maxlen=20, approximate=False)
    command = [sys.executable, "-m", "celery_event_bridge", "audit", "--from", own_redis.url, "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    report = json.loads(result.stdout)
    assert (1, True, 70) == (result.returncode, report["missing"], report["events"]["gone_before_read"])
    with stream.reader(GROUP) as events:
        assert rest(events, set(ids(all_of_it[80:100]))) == ids(all_of_it[80:100])
        assert events.skipped == 70
        stream.write(all_of_it[100:])
        rest(events, set(ids(all_of_it[100:])))
        assert events.skipped == 70
    assert told("skipped") == 70
    (line,) = lines(caplog, "skipped")
    assert line.startswith("70 records were gone from the stream before the group 'billing' came to them")


def test_a_trim_that_overtakes_a_reader_for_itself(stream: Stream, client: Client) -> None:
    """Without a group, too; what it has read before is not counted."""
    all_of_it = some(300)
    stream.write(all_of_it[:100])
    with stream.reader() as events:
        take(events, 100)
        events.idle = events.stop
        assert take(events, 1) == []
        stream.write(all_of_it[100:])
        client.xtrim(STREAM, maxlen=50, approximate=False)
        events._stopping.clear()
        assert [event.id for event in take(events, 50)] == ids(all_of_it[250:])
        assert events.skipped == 150


@pytest.mark.parametrize("how", ["acked", "XDEL of what was read", "a new group"])
def test_what_was_read_is_not_missed(stream: Stream, client: Client, how: str) -> None:
    """What is removed after a group has read it, or before there was a group, is nobody's loss."""
    all_of_it = some(200)
    stream.write(all_of_it[:100])
    if how != "a new group":
        assert len(stream.all(GROUP)) == 100
    if how == "XDEL of what was read":
        client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)[20:]])
    else:
        client.xtrim(STREAM, maxlen=0, approximate=False)
    stream.write(all_of_it[100:])
    with stream.reader(GROUP) as events:
        rest(events, set(ids(all_of_it[100:])))
        assert events.skipped == 0
    assert told("skipped") == 0


def test_what_a_dead_reader_held_and_is_gone_is_counted(stream: Stream, client: Client) -> None:
    """Entries that were delivered, not committed, and trimmed: the one that takes over counts them."""
    stream.write(some(100))
    client.xgroup_create(STREAM, GROUP, "0")
    client.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=60)
    client.xtrim(STREAM, maxlen=50, approximate=False)
    until(lambda: client.xinfo_consumers(STREAM, GROUP)[0]["idle"] > 1000, 10, "its lease has run out")
    with stream.reader(GROUP, lease=1.0) as events:
        assert set(rest(events, set(ids(some(100)[50:])))) == set(ids(some(100)[50:]))
        assert events.skipped == 50


# The login ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_url", [True, False])
def test_a_password_that_is_replaced_under_a_reader(
    own_redis: Redis, stream: Stream, client: Client, tmp_path: Path, by_url: bool
) -> None:
    """BRIDGE_REDIS_URL_FILE is read again after a refused login, also where the URL has the password from there."""
    all_of_it = some(200)
    stream.write(all_of_it[:100])
    client.acl_setuser("reader", enabled=True, passwords=["+old"], commands=["+@all"], keys=["*"])
    file = tmp_path / "url"
    file.write_text(own_redis.url.replace("redis://", "redis://reader:old@"))
    environ = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL_FILE": str(file)}
    url = f"{own_redis.url}?stream={STREAM}" if by_url else None
    with open_reader(url, GROUP, environ=environ, lease=1.0) as events:
        assert events.commit(take(events, 100)[-1])
        client.acl_setuser("reader", enabled=True, passwords=["-old", "+new"])
        file.write_text(own_redis.url.replace("redis://", "redis://reader:new@"))
        client.client_kill_filter(_type="normal", skipme=True)
        until(lambda: stores(stream), 20, "the sink is connected again")
        stream.write(all_of_it[100:])
        assert rest(events, set(ids(all_of_it[100:]))) == ids(all_of_it[100:])


def refusal(url: str, group: str | None = None, environ: dict[str, str] | None = None) -> str:
    """What a reader gives up with that would wait for an hour in an outage."""
    with (
        pytest.raises(SinkUnavailable) as failure,
        open_reader(url, group, environ=environ or {}, follow=False, give_up_after=3600.0) as events,
    ):
        next(events)
    return str(failure.value)


@pytest.mark.timeout(60)
def test_a_reader_that_is_refused_ends_at_once(own_redis: Redis, stream: Stream, client: Client) -> None:
    """No retry mends a wrong password, or a right that is missing."""
    stream.write(some(3))
    client.acl_setuser("guest", enabled=True, passwords=["+old"], commands=["+ping", "+xinfo"], keys=["*"])
    wrong = own_redis.url.replace("redis://", "redis://guest:sesame@")
    assert "check user and password in BRIDGE_REDIS_URL" in refusal(wrong)
    assert "sesame" not in refusal(wrong)
    for group in (None, GROUP):
        assert "NOPERM" in refusal(own_redis.url.replace("redis://", "redis://guest:old@"), group)


@pytest.mark.timeout(60)
def test_tls_to_a_port_without_it_is_said_at_once(own_redis: Redis, stream: Stream) -> None:
    """Redis waits for the rest of what it takes for a command: it is asked without TLS whether it is there."""
    said = refusal(own_redis.url.replace("redis://", "rediss://"))
    assert said.endswith("it speaks no TLS on that port: redis:// instead of rediss://")
