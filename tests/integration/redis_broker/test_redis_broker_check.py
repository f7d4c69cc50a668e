"""Verdicts of `check` on a Redis broker, each on a real server that is so: what is wrong is named, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_event_bridge.brokers.redis.checks import findings
from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.brokers.redis.rights import judged
from celery_event_bridge.brokers.redis.server import Server, server
from celery_event_bridge.brokers.redis.settings import Settings
from tests.support.bridges import Bridge, run_to_end
from tests.support.redis_broker import Publisher, settings as variables
from tests.support.servers import Redis
from tests.support.servers.debian import ROOT, free_port
from tests.support.servers.redis import NativeRedis

PAGE = (ROOT / "docs/how-to/redis-broker.md").read_text()
NEEDED = (
    *("get", "set", "del", "pexpire", "pttl", "hget", "hset", "hmget", "expire", "time"),
    *("rpush", "lpop", "llen", "eval", "publish"),
)


@pytest.fixture(scope="module")
def broker() -> Iterator[NativeRedis]:
    """A Redis that the module's tests set as they like, and set back."""
    made = NativeRedis()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def configured(broker: NativeRedis) -> Iterator[Callable[..., None]]:
    """Changes its settings for the test."""
    with broker.client() as client:
        before = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy")}
        before["client-output-buffer-limit"] = "pubsub 33554432 8388608 60"

        def change(**given: str) -> None:
            for name, value in given.items():
                client.config_set(name.replace("_", "-"), value)

        yield change
        change(**{name.replace("-", "_"): value for name, value in before.items()})


def said(url: str) -> list[str]:
    """Return the verdicts, each with its level."""
    settings = Settings.model_validate({"broker_url": url})
    return [f"{found.verdict} {found.text}" for found in findings(settings, lambda: "here")]


def only(lines: list[str], *levels: str) -> list[str]:
    return [line for line in lines if line.split()[0] in levels]


def test_a_good_server(broker: NativeRedis) -> None:
    """Nothing fails; the limit of the output buffer is said in what it means for a bridge; nothing is left there."""
    lines = said(broker.url)
    assert [] == only(lines, "FAIL")
    assert any(
        "cuts off a bridge that stands still once 32 MB wait for it, or 8 MB do for 60 s" in line for line in lines
    )
    assert any("free, no bridge forwards now" in line for line in lines)
    with broker.client() as client:
        assert [] == client.keys("*")


def test_events_on_another_database_are_found(broker: NativeRedis) -> None:
    """PUB/SUB knows no databases, Celery has their number in the channel: a wrong one is named."""
    publisher = Publisher(broker.url)
    publisher.start()
    (line,) = [line for line in said(broker.url.replace("/0", "/3")) if "no event" in line]
    publisher.finish()
    assert "no event on channel /3.celeryev/* for 3 s, but on /0.celeryev/*" in line


def test_memory_that_is_used_up(broker: NativeRedis, configured: Callable[..., None]) -> None:
    """FAIL, as nobody can take the lease; a warning before that, and of a policy that removes keys."""
    with broker.client() as client:
        client.setrange("ballast", 20_000_000, b"x")
        used = int(client.info("memory")["used_memory"])
        configured(maxmemory=str(used // 2))
        (failed,) = only(said(broker.url), "FAIL")
        assert re.search(
            r"takes no writes: its memory is used up \(maxmemory .* MB, noeviction\): no bridge can", failed
        )
        configured(maxmemory=str(round(used * 1.07)))
        found = said(broker.url)
        assert [] == only(found, "FAIL")
        assert any(re.search("has used 9[0-9] % of its memory .maxmemory", line) for line in only(found, "warn"))
        client.delete("ballast")
    configured(maxmemory="1gb", maxmemory_policy="allkeys-lru")
    warned = only(said(broker.url), "warn")
    assert any("may remove Celery's tasks, the lease and what is parked" in line for line in warned)


def test_a_small_output_buffer(broker: NativeRedis, configured: Callable[..., None]) -> None:
    """A warning, with what it is now and what it was."""
    configured(client_output_buffer_limit="pubsub 1mb 512kb 5")
    (line,) = [line for line in only(said(broker.url), "warn") if "buffer" in line]
    assert "once 1 MB wait for it, or 0.5 MB do for 5 s, and the events of a busy moment pass by" in line


def test_a_replica_is_no_broker(broker: NativeRedis) -> None:
    """FAIL alone; beside its master a bridge goes on to that one, and so does `check`."""
    replica = NativeRedis("--replicaof", "127.0.0.1", str(broker.port))
    try:
        replica.start()
        (line,) = only(said(replica.url), "ok", "FAIL")
        assert line.startswith("FAIL")
        assert "is a replica, on which no bridge can take the lease: name its master in BRIDGE_BROKER_URL" in line
        both = said(f"{replica.url};{broker.url}")
    finally:
        replica.remove()
    assert [] == only(both, "FAIL")
    assert any("bridges go on to the next URL" in line for line in both)
    assert any("rights: the lease" in line for line in both)


def test_a_node_of_a_cluster_is_refused(tmp_path: Path) -> None:
    """By `check`, and by `run` at the start, with exit code 2: CROSSSLOT would be all that it ever says."""
    node = NativeRedis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    try:
        node.start()
        (line,) = said(node.url)
        given = variables(node, tmp_path / "events.db", BRIDGE_HTTP="off")
        done = run_to_end("celery_event_bridge", "run", **given)
    finally:
        node.remove()
    assert line.startswith("FAIL")
    assert "it is a node of a Redis Cluster, which is not supported as the broker" in line
    assert (2, True) == (done.returncode, "it is a node of a Redis Cluster" in done.stderr)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://127.0.0.1:{port}/99", "it has no database of that number"),
        ("redis://nobody:sesame@127.0.0.1:{port}/0", "check user and password in BRIDGE_BROKER_URL"),
    ],
)
def test_a_login_or_a_database_that_there_is_none_of(broker: NativeRedis, url: str, text: str) -> None:
    """Said with the setting, without the password."""
    (line,) = said(url.format(port=broker.port))
    assert ("FAIL", True, False) == (line.split()[0], text in line, "sesame" in line)


def test_a_login_that_was_forgotten() -> None:
    """Redis answers it with a text on HELLO, which helps nobody."""
    guarded = NativeRedis()
    try:
        guarded.start()
        with guarded.client() as client:
            client.config_set("requirepass", "secret")
            (line,) = said(guarded.url)
            client.execute_command("AUTH", "secret")
    finally:
        guarded.remove()
    assert "check user and password in BRIDGE_BROKER_URL" in line
    assert "HELLO" not in line


@pytest.fixture
def lacking(broker: NativeRedis) -> Iterator[Callable[..., list[str]]]:
    """Takes rights from a user that has those of the page; returns what is said of the rest."""
    line = re.search(r"ACL SETUSER.*?(?=```)", PAGE, re.DOTALL)
    assert line

    def judge(*changes: str) -> list[str]:
        with broker.client() as client:
            client.execute_command(*line[0].split())
            client.execute_command("ACL", "SETUSER", "bridge", *changes)
        url = broker.url.replace("redis://", "redis://bridge:password@")
        settings = Settings.model_validate({"broker_url": url})
        link = Link(connected(settings, settings.addresses[0], role="check"), "there")
        try:
            return [f"{found.verdict} {found.text}" for found in judged(link, settings.names, Server())]
        finally:
            link.close()

    yield judge
    with broker.client() as client:
        client.execute_command("ACL", "DELUSER", "bridge")
        assert [] == client.keys("*")


@pytest.mark.parametrize("command", NEEDED)
def test_a_right_that_is_lacking_is_named(lacking: Callable[..., list[str]], command: str) -> None:
    """It alone, as ACL SETUSER gives it."""
    (failed,) = only(lacking(f"-{command}"), "FAIL")
    assert f"its user lacks +{command} (see ACL SETUSER)" in failed


def test_keys_and_channels_that_are_lacking_are_named(lacking: Callable[..., list[str]]) -> None:
    """With the pattern that is enough."""
    assert [] == only(lacking(), "FAIL", "warn")
    (failed,) = only(lacking("resetkeys", "~other*"), "FAIL")
    assert "its user lacks ~celeryev.bridge.* (see" in failed
    (failed,) = only(lacking("resetchannels", "&/0.celeryev/*", "&/0.celeryev"), "FAIL")
    assert "its user lacks &celeryev.bridge.* (see" in failed


def test_what_an_operator_lacks_is_a_warning(lacking: Callable[..., list[str]]) -> None:
    """A bridge forwards without it."""
    (warned,) = only(lacking("-lrange", "-lrem"), "FAIL", "warn")
    assert warned.startswith("warn")
    assert "lacks +lrange +lrem" in warned


def test_a_subscription_that_is_refused_says_what_it_needs(broker: NativeRedis) -> None:
    """Commands and channels."""
    with broker.client() as client:
        client.execute_command("ACL", "SETUSER", "deaf", "on", "nopass", "+@all", "~*", "&celeryev.bridge.*")
        try:
            (failed,) = only(said(broker.url.replace("redis://", "redis://deaf:x@")), "FAIL")
        finally:
            client.execute_command("ACL", "DELUSER", "deaf")
    channels = "&/0.celeryev/* &/0.celeryev &celeryev.bridge.0.again &celeryev.bridge.0.control"
    assert f"+psubscribe +subscribe {channels} are needed" in failed


def test_bridges_that_are_subscribed_are_counted(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """With two of them nobody is told to run two."""
    given = variables(own_redis, tmp_path / "events.db")
    bridges = [start_bridge(**given).await_ready() for _ in range(2)]
    lines = said(own_redis.url)
    assert any("; 2 bridges are subscribed" in line for line in lines)
    assert not any("run two replicas" in line for line in lines)
    for bridge in bridges:
        bridge.kill()


def test_a_server_says_what_it_is(broker: NativeRedis) -> None:
    """Name and version, its process, and how full it is."""
    settings = Settings.model_validate({"broker_url": broker.url})
    link = Link(connected(settings, settings.addresses[0], role="check"), "there")
    try:
        found = server(link)
    finally:
        link.close()
    with broker.client() as client:
        assert client.info("server")["run_id"] == found.run
    assert found.name.startswith("Redis ")
    assert (False, True, 0, "noeviction") == (found.is_replica, found.used > 0, found.limit, found.policy)


@pytest.mark.parametrize("key", ["lease", "record", "rejected"])
def test_a_key_that_somebody_has_overwritten_is_named(broker: NativeRedis, key: str) -> None:
    """A list of what was parked that is none is a failure, as nothing could be parked."""
    name = f"celeryev.bridge.{key}"
    with broker.client() as client:
        try:
            client.zadd(name, {"x": 1})
            [found] = [line for line in said(broker.url) if "somebody has overwritten it" in line]
        finally:
            client.delete(name)
    assert found.startswith(f"{'FAIL' if key == 'rejected' else 'warn'} {name} at ")
