"""TLS to Redis, mutual and verified, for sink and readers; and servers that are of another kind than the URL says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from celery_event_bridge import open_reader
from celery_event_bridge.config.loading import SettingsError, load_stream
from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.sink import RedisStreamsSink
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers.certificates import certificates as make
from tests.support.servers.debian import Child, free_port, program, until
from tests.support.servers.redis import NativeRedis, TlsRedis


def settings(folder: Path, port: int) -> dict[str, str]:
    return {
        "BRIDGE_SINK": "redis",
        "BRIDGE_REDIS_URL": f"rediss://localhost:{port}/0",
        "BRIDGE_REDIS_TLS_CA": str(folder / "ca.pem"),
        "BRIDGE_REDIS_TLS_CERT": str(folder / "client.pem"),
        "BRIDGE_REDIS_TLS_KEY": str(folder / "client.key"),
    }


def opened(sink: RedisStreamsSink) -> None:
    sink.open()
    sink.available()


def refused(**given: str) -> str:
    """What sink and reader say: the settings are refused, or the server cannot be used."""
    environ: dict[str, str] = {"BRIDGE_SINK": "redis", **given}
    try:
        sink = RedisStreamsSink(load_stream("redis", RedisSettings, environ))
    except SettingsError as exc:
        return str(exc)
    with pytest.raises(SinkUnavailable) as of_the_sink:
        opened(sink)
    sink.close()
    with (
        pytest.raises(SinkUnavailable) as of_the_reader,
        open_reader(environ=environ, follow=False, give_up_after=0.5) as reader,
    ):
        next(iter(reader))
    said, again = str(of_the_sink.value), str(of_the_reader.value)
    assert said.partition(":")[0] == again.partition(":")[0]
    return again


def test_events_through_mutual_tls(
    start_bridge: Callable[..., Bridge],
    broker_url: str,
    certificates: Path,
    tls_redis: TlsRedis,
    tmp_path: Path,
) -> None:
    """The bridge stores, a reader reads back; both go on with certificates of another CA after a rotation."""
    folder = tmp_path / "renewed"
    folder.mkdir()
    for name in ("ca.pem", "client.pem", "client.key"):
        (folder / name).write_bytes((certificates / name).read_bytes())
    given = settings(folder, tls_redis.tls_port)
    bridge = start_bridge(**given, BRIDGE_BROKER_URL=broker_url).await_ready()
    messages = oracle.numbered(0, 20)
    oracle.publish(broker_url, messages)
    until(lambda: len(oracle.in_redis(tls_redis.url)) == 20, 20, "all are stored")
    with open_reader(environ=given, follow=False) as reader:
        assert {message.body for message in messages} == {event.data for event in reader}
    make(certificates)
    with tls_redis.client() as client:
        client.config_set("tls-ca-cert-file", str(certificates / "ca.pem"))
        for name in ("ca.pem", "client.pem", "client.key"):
            (folder / name).write_bytes((certificates / name).read_bytes())
        tls_redis.start()
    more = oracle.numbered(20, 20)
    oracle.publish(broker_url, more)
    until(lambda: len(oracle.in_redis(tls_redis.url)) == 40, 40, "those after the rotation are stored as well")
    assert 0 == bridge.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"BRIDGE_REDIS_TLS_CA": ""}, "BRIDGE_REDIS_TLS_CA has to be the file of the CA"),
        ({"BRIDGE_REDIS_TLS_CERT": "", "BRIDGE_REDIS_TLS_KEY": ""}, "BRIDGE_REDIS_TLS_CERT and"),
        ({"BRIDGE_REDIS_TLS_KEY": ""}, "BRIDGE_REDIS_TLS_CERT and BRIDGE_REDIS_TLS_KEY: give both or neither"),
        ({"BRIDGE_REDIS_TLS_KEY": "{folder}/server.key"}, "look at the files of BRIDGE_REDIS_TLS_CA"),
        ({"BRIDGE_REDIS_TLS_CA": "/nowhere.pem"}, "there is no such file"),
        ({"BRIDGE_REDIS_URL": "rediss://127.0.0.1:{tls}/0"}, "a name that is in the server's certificate"),
        ({"BRIDGE_REDIS_URL": "redis://localhost:{tls}/0"}, "only used with rediss://"),
        ({"BRIDGE_REDIS_URL": "rediss://localhost:{plain}/0"}, "no TLS on that port"),
    ],
    ids=["no CA", "no certificate", "no key", "another key", "no file", "another name", "no TLS", "a plain port"],
)
def test_what_keeps_tls_away_is_said_with_the_remedy(
    certificates: Path, tls_redis: TlsRedis, change: dict[str, str], said: str
) -> None:
    """For each setting that is wrong, by the sink as by a reader."""
    names = {"folder": str(certificates), "tls": str(tls_redis.tls_port), "plain": str(tls_redis.port)}
    given = settings(certificates, tls_redis.tls_port) | {key: text.format(**names) for key, text in change.items()}
    assert said in refused(**given)


def test_plaintext_to_a_tls_port_is_suspected(tls_redis: TlsRedis) -> None:
    """The server cuts the connection without a word."""
    assert "speak TLS on that port (rediss://)?" in refused(
        BRIDGE_REDIS_URL=f"redis://localhost:{tls_redis.tls_port}/0"
    )


def test_the_settings_for_one_server_are_not_anothers(certificates: Path, tls_redis: TlsRedis) -> None:
    """A reader's URL without TLS is read, whatever the settings say of theirs; one with TLS has them."""
    with tls_redis.client() as client:
        client.xadd("other", {"id": "0" * 32, "type": "task-sent", "source": "w", "data": '{"type":"task-sent"}'})
    given = settings(certificates, tls_redis.tls_port)
    for url in (f"{tls_redis.url}?stream=other", f"rediss://localhost:{tls_redis.tls_port}/0?stream=other"):
        with open_reader(url, environ=given, follow=False) as reader:
            assert ["task-sent"] == [event.type for event in reader]


def test_a_node_of_a_cluster_is_named_as_one() -> None:
    """Not a bare MOVED or CLUSTERDOWN."""
    said = "it is a node of a Redis Cluster: redis+cluster:// instead of redis://"
    node = NativeRedis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    try:
        node.start()
        # No slot is served there, or all but the stream's.
        assert said in refused(BRIDGE_REDIS_URL=node.url)
        with node.client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", "celery-events")
            client.execute_command("CLUSTER", "ADDSLOTS", *(each for each in range(16384) if each != slot))
        assert said in refused(BRIDGE_REDIS_URL=node.url)
    finally:
        node.remove()


def test_a_sentinel_is_named_as_one(tmp_path: Path) -> None:
    """Not a bare unknown command."""
    port = free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor master 127.0.0.1 1 1\n")
    child = Child([program("redis-server", "redis-server"), str(file), "--sentinel"], {}, tmp_path / "output")
    url = f"redis://127.0.0.1:{port}/0"
    try:
        until(lambda: answers(port), 20, "the sentinel answers")
        assert "it is a sentinel" in refused(BRIDGE_REDIS_URL=url)
    finally:
        child.end()


def answers(port: int) -> bool:
    command = [program("redis-cli", "redis-tools"), "-p", str(port), "ping"]
    return "PONG" in subprocess.run(command, capture_output=True, text=True, check=False).stdout
