"""TLS to a Redis broker: by settings, by the URL as Celery has it, through sentinels; and what is said of errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from celery import Celery
from pydantic import ValidationError
from redis.sentinel import Sentinel

from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support.bridges import Bridge, run_to_end
from tests.support.redis_broker import stored
from tests.support.servers.certificates import certificates as make, redis_options
from tests.support.servers.debian import Child, free_port, program, until
from tests.support.servers.redis import TlsRedis

PASSWORD = "sesame"


def by_settings(folder: Path, port: int) -> dict[str, str]:
    """Return the fields of the bridge's settings."""
    return {
        "broker_url": f"rediss://localhost:{port}/0",
        "broker_tls_ca": str(folder / "ca.pem"),
        "broker_tls_cert": str(folder / "client.pem"),
        "broker_tls_key": str(folder / "client.key"),
    }


def by_url(folder: Path, port: int, **changed: str) -> str:
    """Return a URL as Celery takes it."""
    options = {
        "ssl_cert_reqs": "CERT_REQUIRED",
        "ssl_ca_certs": str(folder / "ca.pem"),
        "ssl_certfile": str(folder / "client.pem"),
        "ssl_keyfile": str(folder / "client.key"),
    }
    return f"rediss://localhost:{port}/0?{urlencode(options | changed)}"


def variables(fields: dict[str, str], file: Path) -> dict[str, str]:
    """Return a bridge's variables, into a SQLite file."""
    given = {f"BRIDGE_{name.upper()}": text for name, text in fields.items()}
    return {**given, "BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(file)}


def publish(url: str, uuid: str) -> None:
    """Publish an event as a worker of that `broker_url` does."""
    with Celery(broker=url) as app, app.connection_for_write() as connection:
        app.events.Dispatcher(connection, hostname="w@h", buffer_while_offline=False).send("task-sent", uuid=uuid)


@pytest.mark.parametrize("way", ["settings", "url"])
def test_events_come_through_mutual_tls(
    start_bridge: Callable[..., Bridge],
    certificates: Path,
    tls_redis: TlsRedis,
    tmp_path: Path,
    way: str,
) -> None:
    """The same URL does for Celery and for the bridge; and so do the bridge's settings, with Celery's beside them."""
    url, file = by_url(certificates, tls_redis.tls_port), tmp_path / "events.db"
    fields = {"broker_url": url} if way == "url" else by_settings(certificates, tls_redis.tls_port)
    fields["queue"] = f"celeryev.{way}"
    bridge = start_bridge(**variables(fields, file)).await_ready()
    bridge.await_log("this bridge forwards")
    publish(url, "through TLS")
    until(lambda: stored(file) == {"through TLS"}, 20, "it is stored")
    assert 0 == bridge.stop()


def refusal(fields: dict[str, str]) -> str:
    """Return what is said of these settings, or of the way to the server."""
    try:
        settings = Settings.model_validate(fields)
    except ValidationError as exc:
        return str(exc.errors(include_url=False)[0]["msg"])
    (address,) = settings.addresses
    with pytest.raises(BrokerUnavailable) as caught:
        Link(connected(settings, address, role="check"), address.where).ask("PING")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"broker_tls_ca": "{other}/ca.pem"}, "BRIDGE_BROKER_TLS_CA has to be the file of the CA"),
        ({"broker_tls_ca": ""}, "BRIDGE_BROKER_TLS_CA has to be the file of the CA"),
        ({"broker_tls_cert": "", "broker_tls_key": ""}, "BRIDGE_BROKER_TLS_CERT and"),
        ({"broker_tls_key": ""}, "BRIDGE_BROKER_TLS_CERT and BRIDGE_BROKER_TLS_KEY: give both or neither"),
        ({"broker_tls_key": "{folder}/server.key"}, "look at the files of BRIDGE_BROKER_TLS_CA"),
        ({"broker_url": "rediss://:{password}@127.0.0.1:{tls}/0"}, "a name that is in the server's certificate"),
        ({"broker_url": "redis://:{password}@localhost:{tls}/0"}, "only used with rediss://"),
        ({"broker_url": "rediss://:{password}@localhost:{plain}/0"}, "speak"),
    ],
    ids=["another CA", "no CA", "no certificate", "no key", "another key", "another name", "no TLS", "a plain port"],
)
def test_what_keeps_tls_away_is_said_with_the_remedy(
    certificates: Path, tls_redis: TlsRedis, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    """For each setting that is wrong, in a line without the password."""
    make(tmp_path)
    names = {
        "folder": certificates,
        "other": tmp_path,
        "tls": tls_redis.tls_port,
        "plain": tls_redis.port,
        "password": PASSWORD,
    }
    given = by_settings(certificates, tls_redis.tls_port)
    given["broker_url"] = f"rediss://:{PASSWORD}@localhost:{tls_redis.tls_port}/0"
    given |= {key: text.format(**names) for key, text in change.items()}
    text = refusal({name: value for name, value in given.items() if value})
    assert said in text
    assert (1, False) == (len(text.splitlines()), PASSWORD in text)


def test_plaintext_to_a_tls_port_is_suspected(tls_redis: TlsRedis) -> None:
    """The server cuts the connection without a word."""
    assert "speak TLS on that port (rediss://)?" in refusal({"broker_url": f"redis://localhost:{tls_redis.tls_port}/0"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ssl_cert_reqs": "CERT_NEVER"}, "ssl_cert_reqs is required, optional or none"),
        ({"ssl_ca_certs": "/nowhere/sesame.pem"}, "ssl_ca_certs: there is no such file"),
        ({"ssl_ca_cert": "x"}, "there is no option ssl_ca_cert"),
    ],
)
def test_a_wrong_option_in_the_url_is_named(certificates: Path, changed: dict[str, str], said: str) -> None:
    """At the start, without its value."""
    text = refusal({"broker_url": by_url(certificates, 1, **changed)})
    assert (True, False) == (said in text, "sesame" in text)


def test_check_of_a_wrong_ca_is_a_line(certificates: Path, tls_redis: TlsRedis, tmp_path: Path) -> None:
    """As an operator sees it: FAIL, exit code 1, no traceback, and no password anywhere."""
    make(tmp_path)
    fields = by_settings(certificates, tls_redis.tls_port) | {"broker_tls_ca": str(tmp_path / "ca.pem")}
    fields["broker_url"] = f"rediss://user:{quote(PASSWORD)}@localhost:{tls_redis.tls_port}/0"
    done = run_to_end("celery_event_bridge", "check", **variables(fields, tmp_path / "events.db"))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert (1, True) == (done.returncode, "BRIDGE_BROKER_TLS_CA has to be the file of the CA" in line)
    assert "Traceback" not in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr


@pytest.fixture
def sentinel(certificates: Path, tls_redis: TlsRedis, tmp_path: Path) -> Iterator[int]:
    """The port of a sentinel that speaks TLS alone, also to the master, and knows it by the name in its certificate."""
    port, file = free_port(), tmp_path / "sentinel.conf"
    options = redis_options(certificates, port)
    lines = [f"{name[2:]} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    lines += ["port 0", "bind 127.0.0.1", f"dir {tmp_path}", "tls-replication yes"]
    lines += ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"]
    lines += [f"sentinel monitor mymaster localhost {tls_redis.tls_port} 1"]
    file.write_text("\n".join(lines))
    child = Child([program("redis-server", "redis-server"), str(file), "--sentinel"], {}, tmp_path / "sentinel.log")
    files = {"ssl_ca_certs": "ca.pem", "ssl_certfile": "client.pem", "ssl_keyfile": "client.key"}
    given = {name: str(certificates / value) for name, value in files.items()}
    asked = Sentinel([("localhost", port)], sentinel_kwargs={"ssl": True, **given}, socket_timeout=5)
    try:
        until(lambda: asked.discover_master("mymaster"), 30, "the sentinel knows its master")
        yield port
    finally:
        for each in asked.sentinels:
            each.close()
        child.end()


def test_tls_to_sentinels_and_to_their_master(
    start_bridge: Callable[..., Bridge], certificates: Path, tls_redis: TlsRedis, sentinel: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    """`sentinel_kwargs` with `"ssl": true` and the bridge's files are enough for both."""
    file = tmp_path / "events.db"
    options = {"master_name": "mymaster", "sentinel_kwargs": {"ssl": True}}
    fields = by_settings(certificates, tls_redis.tls_port) | {
        "broker_url": f"sentinel://localhost:{sentinel}/0",
        "broker_transport_options": json.dumps(options),
        "queue": "celeryev.sentinel",
    }
    bridge = start_bridge(**variables(fields, file)).await_ready()
    bridge.await_log("this bridge forwards")
    publish(by_url(certificates, tls_redis.tls_port), "by a sentinel")
    until(lambda: stored(file) == {"by a sentinel"}, 20, "it is stored")
