"""What others change around a Redis sink: the name leads elsewhere, a limit is set, rights and a password change."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis as Client

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, secret_files
from celery_event_bridge.testing import await_verdicts, deliver, sample_events
from celery_event_sinks.redis.suspects import TRIALS
from tests.faults.proxy import Mode, Proxy
from tests.support.redis_sinks import (
    configured,
    in_use,
    opened,
    port,
    refused,
    replicate,
    store_all,
    stored,
    through,
    told,
)
from tests.support.servers import Redis
from tests.support.servers.debian import PATIENCE

STREAM = "celery-events"


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
