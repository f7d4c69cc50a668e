"""What others change around a Redis sink: the name leads elsewhere, entries go, a limit is set, a password rotates."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, Verdict, notices, secret_files
from celery_event_bridge.testing import await_verdicts, deliver, sample_events
from celery_event_sinks.redis.clock import StreamClock
from celery_event_sinks.redis.suspects import TRIALS
from tests.faults.proxy import Mode, Proxy
from tests.integration.redis.test_redis_pipeline import port, through
from tests.integration.redis.test_redis_sink import closed, in_use, opened, stored
from tests.support.servers import Redis, redis
from tests.support.servers.debian import PATIENCE, until
from tests.support.servers.redis import NativeRedis

__all__ = ["closed"]

STREAM = "celery-events"


@pytest.fixture
def proxy(own_redis: Redis) -> Iterator[Proxy]:
    proxy = Proxy(port(own_redis.url))
    yield proxy
    proxy.close()


@pytest.fixture
def client(own_redis: Redis) -> Iterator[Client]:
    with own_redis.client() as client:
        yield client


@pytest.fixture
def second_redis() -> Iterator[Redis]:
    with redis(own=True) as server:
        yield server


@contextmanager
def configured(*options: str) -> Iterator[NativeRedis]:
    """A server with options of its own."""
    server = NativeRedis(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def replicate(replica: Client, url: str) -> None:
    """Let it be a replica with all that the other has."""
    replica.replicaof("127.0.0.1", str(port(url)))
    until(lambda: replica.info("replication")["master_link_status"] == "up", 20, "the replica has all")


def store_all(subject: Any, events: Sequence[Event], seconds: float = 30) -> list[Verdict]:
    """Hand over, and again what comes back, as the relay does; the verdicts that are final."""
    left, final = list(events), list[Verdict]()
    deadline = time.monotonic() + seconds * PATIENCE
    while left:
        assert time.monotonic() < deadline, f"{len(left)} of {len(events)} are not decided"
        arrived = deliver(subject, left, 80)
        final += [verdict for verdict in arrived if verdict.outcome is not Outcome.RETRY]
        left = [event for verdict in arrived if verdict.outcome is Outcome.RETRY for event in verdict.events]
        if left:
            time.sleep(0.05)
    return final


def refused(verdicts: Sequence[Verdict]) -> list[Event]:
    return [event for verdict in verdicts if verdict.outcome is Outcome.REFUSED for event in verdict.events]


def told(kind: str) -> int:
    return notices.NOTICES.counts()[kind]


# The name leads elsewhere -------------------------------------------------------------------------------------------


def test_a_name_that_leads_to_the_new_master(
    own_redis: Redis, client: Client, proxy: Proxy, second_redis: Redis
) -> None:
    """After READONLY the connection is made anew, to where the name leads now; the old one would say so for ever."""
    subject = in_use(through(proxy))
    events = sample_events(30)
    with second_redis.client() as second:
        replicate(second, own_redis.url)
        second.replicaof("NO", "ONE")
        proxy.lead_to(port(second_redis.url))
        client.replicaof("127.0.0.1", str(port(second_redis.url)))
        store_all(subject, events)
    assert {event.data for event in events} <= set(stored(second_redis.url))


def test_a_look_notices_the_new_master_without_an_event(
    own_redis: Redis, client: Client, proxy: Proxy, second_redis: Redis
) -> None:
    """The look says that it is a replica, and the next one is at the new master."""
    subject = in_use(through(proxy))
    subject.look()
    with second_redis.client() as second:
        replicate(second, own_redis.url)
        second.replicaof("NO", "ONE")
        proxy.lead_to(port(second_redis.url))
        client.replicaof("127.0.0.1", str(port(second_redis.url)))
        with pytest.raises(SinkUnavailable, match="is a replica now"):
            subject.look()
        subject.available()
        subject.look()
        assert told("stream-shrunk") == 0


def test_a_master_that_was_cut_off(own_redis: Redis, client: Client, proxy: Proxy, second_redis: Redis) -> None:
    """NOREPLICAS leads to another connection, too: the replicas are another master's by now."""
    subject = in_use(through(proxy))
    client.config_set("min-replicas-to-write", "1")
    proxy.lead_to(port(second_redis.url))
    events = sample_events(10)
    store_all(subject, events)
    assert {event.data for event in events} == set(stored(second_redis.url))


# What takes the connection down -------------------------------------------------------------------------------------


def small(count: int, first: int) -> list[Event]:
    return [Event(f"{n:032x}", "task-sent", "w", None, "w", None, b"%d" % n) for n in range(first, first + count)]


def test_an_event_over_the_servers_buffer_is_refused_alone() -> None:
    """Those before and behind it are stored, though Redis cuts the connection and does not say why."""
    with configured("--client-query-buffer-limit", "1mb", "--rename-command", "CONFIG", "hidden") as server:
        subject = opened(server.url)
        big = Event("b" * 32, "task-sent", "w", None, "w", None, b"x" * 3_000_000)
        events = [*small(5, 0), big, *small(5, 5)]
        verdicts = store_all(subject, events)
        assert [big] == refused(verdicts)
        assert "3 times" in next(verdict.reason for verdict in verdicts if verdict.outcome is Outcome.REFUSED)
        assert {event.data for event in events if event is not big} == set(stored(server.url))


def test_a_value_over_a_limit_that_may_not_be_asked_for() -> None:
    """What is over proto-max-bulk-len is found out by sending it alone, where CONFIG cannot tell."""
    with configured("--proto-max-bulk-len", "1mb", "--rename-command", "CONFIG", "hidden") as server:
        subject = opened(server.url)
        big = [Event(f"{n}" * 32, "task-sent", "w", None, "w", None, b"x" * 3_000_000) for n in range(2)]
        events = [*small(5, 0), *big, *small(5, 5)]
        assert big == sorted(refused(store_all(subject, events)), key=lambda event: event.id)
        assert {event.data for event in events if event not in big} == set(stored(server.url))


def test_restarts_lead_to_no_refusal(own_redis: Redis) -> None:
    """A large event that was on its way at three restarts is stored in the end."""
    subject = opened(own_redis.url)
    big = Event("b" * 32, "task-sent", "w", None, "w", None, b"x" * 3_000_000)
    for number in range(2 + TRIALS):
        store_all(subject, small(1, number))
        own_redis.pause()
        subject.send([big])
        assert [] == list(subject.verdicts(0.05))
        own_redis.kill()
        (verdict,) = await_verdicts(subject, 1, 80)
        assert Outcome.RETRY is verdict.outcome
        own_redis.start()
    assert [] == refused(store_all(subject, [big]))
    assert big.data in stored(own_redis.url)


# A connection that trickles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("replies_only", [True, False])
@pytest.mark.parametrize("call", ["open", "available", "look", "advice", "verdicts"])
def test_a_trickle_ends_every_call(own_redis: Redis, proxy: Proxy, call: str, replies_only: bool) -> None:
    """One byte every two seconds keeps no call for more than a few seconds, and the reason says what is stuck."""
    subject = opened(through(proxy)) if call == "open" else in_use(through(proxy))
    if call == "open":
        subject.close()
    proxy.pace, proxy.replies_only, proxy.mode = 2.0, replies_only, Mode.TRICKLE
    began = time.monotonic()
    if call == "verdicts":
        subject.send(sample_events(10))
        (verdict,) = await_verdicts(subject, 10, 80)
        assert Outcome.RETRY is verdict.outcome
        reason = verdict.reason
    else:
        with pytest.raises(SinkUnavailable) as failure:
            {"open": subject.available}.get(call, getattr(subject, call))()
        reason = str(failure.value)
    assert time.monotonic() - began < 12 * PATIENCE
    assert "the connection is stuck" in reason
    proxy.heal()
    proxy.cut()
    store_all(subject, sample_events(10))


def test_a_name_server_that_is_silent(tmp_path: Path) -> None:
    """Resolving a name has a deadline, too; the reason names it. In a namespace with a resolver of the test's own."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.77.0.1\n")
    code = """
import time
from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
began = time.monotonic()
try:
    RedisStreamsSink(RedisSettings(url="redis://redis.example.net:6379/0")).open()
except SinkUnavailable as exc:
    print(exc, time.monotonic() - began < 30, sep="|", flush=True)
"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.77.0.1", 53))
        except OSError as exc:
            pytest.skip(f"no name server can be played: {exc}")
        mount = f"mount --bind {resolver} /etc/resolv.conf && exec {sys.executable} -c '{code}'"
        result = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True, timeout=180, check=False
        )
    if "unshare" in result.stderr or "mount" in result.stderr:
        pytest.skip(result.stderr)
    reason, _, in_time = result.stdout.strip().partition("|")
    assert "the name redis.example.net was not resolved in time" in reason
    assert in_time == "True"


# Entries go ---------------------------------------------------------------------------------------------------------


def looked_at(url: str, count: int = 20, **settings: Any) -> Any:
    """A sink that has stored so many, and has looked at the stream."""
    subject = opened(url, **settings)
    store_all(subject, sample_events(count))
    subject.look()
    assert told("stream-shrunk") == 0
    return subject


@pytest.mark.parametrize(
    "how", ["FLUSHALL", "DEL", "RENAME", "XTRIM", "XDEL", "SWAPDB", "FLUSHALL and written to again"]
)
def test_entries_that_somebody_removes(
    own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The next look says so, once, with their number; and goes on from there."""
    subject = looked_at(own_redis.url)
    gone = 20
    if how == "XTRIM":
        gone = int(client.xtrim(STREAM, maxlen=5, approximate=False))
    elif how == "XDEL":
        gone = int(client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)[5:8]]))
    elif how == "SWAPDB":
        client.swapdb(0, 1)
    else:
        client.execute_command(*{"DEL": ("DEL", STREAM), "RENAME": ("RENAME", STREAM, "x")}.get(how, ("FLUSHALL",)))
        if how == "FLUSHALL and written to again":
            store_all(subject, sample_events(25))
    subject.look()
    subject.look()
    assert told("stream-shrunk") == gone
    (line,) = [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "stream-shrunk"]
    assert f"{gone} entries of the stream 'celery-events'" in line
    is_gone = how not in ("XTRIM", "XDEL")
    assert (
        is_gone == ("at least" in line) == ("deleted" in line) != ("removed from it by somebody (XTRIM, XDEL)" in line)
    )
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") == gone


@pytest.mark.parametrize("trim", ["acked", "maxlen=1000000"])
def test_what_no_rule_of_ours_removes_is_somebodys(own_redis: Redis, client: Client, trim: str) -> None:
    """Where no group reads nothing is acknowledged, and a bound that is far away removes nothing."""
    subject = looked_at(own_redis.url, trim=trim)
    assert 15 == client.xdel(STREAM, *[entry for entry, _ in client.xrange(STREAM)[:15]])
    store_all(subject, sample_events(25))
    subject.look()
    assert (15, 0) == (told("stream-shrunk"), told("removed"))


def test_redis_comes_back_empty(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """What was there is said to be gone, and that it is another process."""
    subject = looked_at(own_redis.url)
    client.config_set("appendonly", "no")
    for file in Path(client.config_get("dir")["dir"]).glob("appendonlydir/*"):
        file.unlink()
    client.close()
    own_redis.kill()
    own_redis.start()
    until(lambda: subject.available() is None, 20, "Redis answers again")
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") >= 20
    assert "another process than before" in caplog.text


def test_a_restart_with_its_file_is_no_loss(own_redis: Redis) -> None:
    """Nothing is said of a server that comes back with all it had."""
    subject = looked_at(own_redis.url)
    own_redis.kill()
    own_redis.start()
    store_all(subject, sample_events(5))
    subject.look()
    assert told("stream-shrunk") == 0


def test_a_replica_without_the_last_entries_is_promoted(
    own_redis: Redis, client: Client, proxy: Proxy, second_redis: Redis
) -> None:
    """What the old master had confirmed and the new one has not got is said to be gone, though it has newer ones."""
    subject = in_use(through(proxy))
    subject.look()
    with second_redis.client() as second:
        replicate(second, own_redis.url)
        second.replicaof("NO", "ONE")
        store_all(subject, sample_events(3))
        proxy.lead_to(port(second_redis.url))
        client.replicaof("127.0.0.1", str(port(second_redis.url)))
        store_all(subject, sample_events(30))
        subject.look()
        assert told("stream-shrunk") >= 1


def test_the_key_becomes_another_type(own_redis: Redis, client: Client) -> None:
    """A look says which key, and what to do; it goes on once it is a stream again."""
    subject = looked_at(own_redis.url)
    client.rename(STREAM, "aside")
    client.set(STREAM, "no stream")
    with pytest.raises(SinkUnavailable, match=f"WRONGTYPE.*'{STREAM}' is no stream"):
        subject.look()
    client.delete(STREAM)
    client.rename("aside", STREAM)
    subject.look()
    assert told("stream-shrunk") == 0


def test_a_user_who_may_only_add_is_not_looked_after(own_redis: Redis, client: Client) -> None:
    """Without the right to ask nothing is said, and nothing fails."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping", "+xadd"], keys=[STREAM])
    subject = opened(own_redis.url.replace("redis://", "redis://writer:secret@"))
    store_all(subject, sample_events(5))
    subject.look()
    client.flushall()
    subject.look()
    assert told("stream-shrunk") == 0


# Our own trim -------------------------------------------------------------------------------------------------------


def test_what_is_trimmed_is_told_of(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """By age and by length: counted, at info, and not taken for somebody's doing, by another replica either."""
    caplog.set_level(logging.INFO, "celery_event_bridge")
    with client.pipeline() as pipeline:
        for number in range(1, 25_001):  # more than Redis removes in one go
            pipeline.xadd(STREAM, {"data": "old"}, id=f"{number}-1")
        pipeline.execute()
    other = opened(own_redis.url, trim="age=1d")
    other.look()
    subject = opened(own_redis.url, trim="age=1d")
    store_all(subject, sample_events(10))
    other.look()
    subject.look()
    assert told("stream-shrunk") == 0
    assert 25_010 - len(stored(own_redis.url)) == told("removed") >= 24_900
    assert [logging.INFO] == [one.levelno for one in caplog.records if getattr(one, "kind", "") == "removed"]
    assert told("clock") == 0


def test_what_is_trimmed_by_length_is_told_of(own_redis: Redis) -> None:
    """The number of those that are gone is counted as removed."""
    subject = looked_at(own_redis.url, 100, trim="maxlen=100")
    store_all(subject, sample_events(2000, size=10))
    subject.look()
    assert told("stream-shrunk") == 0
    assert 2100 - len(stored(own_redis.url)) == told("removed")


def test_a_clock_that_is_ahead_removes_nothing(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With this machine's clock eight days ahead and BRIDGE_REDIS_TRIM=age=7d all is kept, and the clock is told of."""
    events = sample_events(750)
    store_all(opened(own_redis.url, trim="age=7d"), events[:250])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 8 * 86_400)
    subject = opened(own_redis.url, trim="age=7d")
    for first in range(250, 750, 100):
        store_all(subject, events[first : first + 100])
        subject.look()
    assert [event.data for event in events] == stored(own_redis.url)
    assert told("clock") > 0
    assert "this machine's clock is 691200 s ahead of that of Redis" in caplog.text


def test_a_jump_of_the_servers_clock_removes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The time by which entries are removed goes on as before, and the jump is told of."""
    now = [1000.0]
    clock = StreamClock(monotonic=lambda: now[0], wall=lambda: 1_900_000_000 + now[0])
    assert clock.milliseconds() is None
    clock.saw(1_900_001_000, "r:6379")
    now[0] += 10
    clock.saw(1_900_001_010 + 8 * 86_400, "r:6379")
    assert clock.milliseconds() == 1_900_001_010_000
    assert "the clock of Redis at r:6379 has jumped by +691200 s" in caplog.text
    now[0] += 10
    clock.saw(1_900_001_020, "r:6379")
    assert clock.milliseconds() == 1_900_001_020_000


def test_no_right_to_trim_is_told_of(own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The events are stored, and a warning says that nothing is removed, and why."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+ping", "+xadd", "+time"], keys=["*"])
    subject = opened(own_redis.url.replace("redis://", "redis://writer:secret@"), trim="age=7d")
    store_all(subject, sample_events(5))
    assert "BRIDGE_REDIS_TRIM=age=604800s: nothing is removed: " in caplog.text
    assert "NOPERM" in caplog.text


def test_no_right_to_ask_the_time_removes_nothing(
    own_redis: Redis, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Age is not known then: not even what every group has acknowledged goes, and the missing right is told of."""
    events = sample_events(300)
    store_all(opened(own_redis.url), events)
    client.xgroup_create("celery-events", "billing", "0")
    for _, entries in client.xreadgroup("billing", "me", {"celery-events": ">"}, 1000) or ():
        client.xack("celery-events", "billing", *(entry for entry, _ in entries))
    rights = {"categories": ["+@all"], "commands": ["-time"], "keys": ["*"]}
    client.acl_setuser("timeless", enabled=True, passwords=["+secret"], **rights)
    subject = opened(own_redis.url.replace("redis://", "redis://timeless:secret@"), trim="age=7d")
    store_all(subject, sample_events(305)[300:])
    assert 305 == client.xlen("celery-events")
    assert "the user needs +time" in caplog.text


# The login ----------------------------------------------------------------------------------------------------------


def test_a_password_that_is_replaced(own_redis: Redis, client: Client, tmp_path: Path) -> None:
    """The file of BRIDGE_REDIS_URL_FILE is read again after a refused login: no restart is needed."""
    client.acl_setuser("writer", enabled=True, passwords=["+old"], commands=["+@all"], keys=["*"])
    file = tmp_path / "url"
    file.write_text(own_redis.url.replace("redis://", "redis://writer:old@"))
    secret_files.remember(file.read_text(), file)
    subject = opened(file.read_text())
    store_all(subject, sample_events(5))
    client.acl_setuser("writer", enabled=True, passwords=["-old", "+new"])
    client.client_kill_filter(_type="normal", skipme=True)
    (verdict,) = deliver(subject, sample_events(5), 80)
    assert Outcome.RETRY is verdict.outcome
    with pytest.raises(SinkUnavailable, match=r"WRONGPASS.*check user and password") as failure:
        subject.available()
    assert "old" not in str(failure.value)
    file.write_text(own_redis.url.replace("redis://", "redis://writer:new@"))
    subject.available()
    store_all(subject, sample_events(5))


def test_rights_that_are_withdrawn(own_redis: Redis, client: Client) -> None:
    """NOPERM on a connection that had them is an outage with the reason, and over once they are given again."""
    client.acl_setuser("writer", enabled=True, passwords=["+secret"], commands=["+@all"], keys=["*"])
    subject = in_use(own_redis.url.replace("redis://", "redis://writer:secret@"))
    client.acl_setuser("writer", enabled=True, commands=["-xadd"])
    (verdict,) = deliver(subject, sample_events(5), 80)
    assert (Outcome.RETRY, True) == (verdict.outcome, "NOPERM" in verdict.reason)
    client.acl_setuser("writer", enabled=True, commands=["+@all"])
    store_all(subject, sample_events(5))
