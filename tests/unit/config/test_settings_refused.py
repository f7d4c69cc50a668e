"""Settings that are refused: a line each, with the variable, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from celery_event_bridge.config.loading import SettingsError, load
from celery_event_bridge.config.settings import NO_EVENTS
from tests.support.settings import error, rabbitmq


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("BRIDGE_PREFETCH", "0", "expected at least 1"),
        ("BRIDGE_PREFETCH", "65536", "expected at most 65535"),
        ("BRIDGE_PREFETCH", "many", "expected a whole number"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "lots", "a size such as 16MiB"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "16XiB", "a size such as 16MiB"),
        ("BRIDGE_QUEUE_TTL", "-1", "seconds or a duration"),
        ("BRIDGE_QUEUE_TTL", "60d", "expected at most 4294967"),
        ("BRIDGE_QUEUE_TYPE", "stream", "expected quorum or classic"),
        ("BRIDGE_DECLARE", "perhaps", "expected true or false"),
        ("BRIDGE_EVENT_TYPES", "task-*,!", "event types separated by commas"),
        ("BRIDGE_HTTP", "9810", "HOST:PORT"),
        ("BRIDGE_HTTP", "localhost:99999", "HOST:PORT"),
        ("BRIDGE_HTTP", "localhost:-1", "HOST:PORT"),
        ("BRIDGE_HTTP", "localhost:", "HOST:PORT"),
        ("BRIDGE_HTTP", "localhost:²", "HOST:PORT"),
        ("BRIDGE_HTTP", ":9810", "HOST:PORT"),
        ("BRIDGE_HTTP", "[]:9810", "HOST:PORT"),
        ("BRIDGE_BROKER_TRANSPORT_OPTIONS", "{", "expected JSON: EOF while parsing"),
        ("BRIDGE_BROKER_TRANSPORT_OPTIONS", "[]", "expected a JSON object, such as {}"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "1k", "expected at least 64KiB"),
        ("BRIDGE_LET_GO_AFTER", "0", "expected more than 0"),
        ("BRIDGE_BROKER_URL", "http://h/", "amqp://"),
        ("BRIDGE_BROKER_URL", ";", "a URL such as"),
        ("BRIDGE_BROKER_URL", "reddis://h/0", "did you mean the scheme redis?"),
        ("BRIDGE_BROKER_URL", "http://h:6379/0", "or redis://:"),
        ("BRIDGE_BROKER_URL", "amqp://h:99999/", "the port is no number"),
        ("BRIDGE_SINK", "cassandra", "no such sink; there are kafka, redis, sqlite, stdout"),
        ("BRIDGE_SINK", ",", "at least one name"),
        ("BRIDGE_SQLITE_RETENTION", "for ever", "seconds or a duration"),
        ("BRIDGE_BROKER_TLS_CA", "/nowhere.pem", "there is no such file"),
        ("BRIDGE_BROKER_NAME", "n" * 201, "expected at most 200 bytes"),
        ("BRIDGE_BROKER_NAME", "é" * 101, "expected at most 200 bytes"),
        ("BRIDGE_BROKER_NAME", "eu,us", "expected a name without , * ? [ ] !"),
        ("BRIDGE_BROKER_NAME", "!eu", "expected a name without , * ? [ ] !"),
        ("BRIDGE_BROKER_NAME", "+eu", "expected a name without , * ? [ ] !"),
        ("BRIDGE_BROKER_NAME", " eu", "no blank at an end"),
    ],
)
def test_what_is_not_allowed(name: str, text: str, allowed: str) -> None:
    """One line with the variable, the value and what is allowed."""
    (line,) = error(**{name: text}).splitlines()
    assert line.startswith(f"{name}={text}: ")
    assert allowed in line


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\udcff", "amqp://u:sesame@h//", "u:sesame@h"])
def test_a_brokers_name_can_be_read(name: str) -> None:
    """What cannot be printed, or may hold a password, is refused in one line, without it."""
    (line,) = error(BRIDGE_BROKER_NAME=name).splitlines()
    assert line.startswith("BRIDGE_BROKER_NAME=")
    assert "sesame" not in line
    assert "expected " in line


def test_an_empty_name_of_a_broker_is_refused_as_an_option() -> None:
    """An empty variable counts as unset; an option that is empty is a slip."""
    with pytest.raises(SettingsError, match=r"^BRIDGE_BROKER_NAME=: expected a name$"):
        load({}, {"BRIDGE_BROKER_NAME": ""})
    assert load({"BRIDGE_BROKER_NAME": ""}).settings.broker_name is None


@pytest.mark.parametrize(
    ("name", "text"),
    [("BRIDGE_SQLITE_RETENTION", "30"), ("BRIDGE_KAFKA_RETENTION", " 0.5 "), ("BRIDGE_REDIS_TRIM", "age=30")],
)
def test_a_retention_has_a_unit(name: str, text: str) -> None:
    """A bare number would be seconds, where days were meant: refused, with both."""
    (line,) = error(BRIDGE_SINK="sqlite,kafka,redis", **{name: text}).splitlines()
    number = text.removeprefix("age=").strip()
    assert line.startswith(f"{name}={text}: ")
    assert f"expected a unit: {number}d for days, {number}s for seconds" in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BRIDGE_REDACT", "args"),
    ],
)
def test_what_a_later_version_will_serve_is_refused(name: str, text: str) -> None:
    """A setting that this version cannot honour is never ignored."""
    assert "not available yet" in error(**{name: text})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://h:1,h2:2/0", "a cluster has no databases"),
        ("redis+cluster://u:sesame@h:1,h2:x", "nodes are host:6379, separated by commas"),
        ("redis+cluster://", "nodes are host:6379"),
        ("redis+sentinel://h:1/", "the master's name"),
    ],
)
def test_urls_of_clusters_and_sentinels_that_are_none(url: str, said: str) -> None:
    """What is wrong is said, without the password."""
    (line,) = error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL=url).splitlines()
    assert said in line
    assert "sesame" not in line


def test_all_errors_are_said_at_once() -> None:
    """Each mistake is a line: the core's, those of each sink, and a sink that there is none of."""
    wrong = {"BRIDGE_PREFETCH": "x", "BRIDGE_QUEUE_TYPE": "y", "BRIDGE_REDIS_SHARDS": "0", "BRIDGE_KAFKA_TOPIC": "a b"}
    lines = error(BRIDGE_SINK="kafka,redis,none", **wrong).splitlines()
    assert [*sorted(wrong), "BRIDGE_SINK"] == sorted(line.partition("=")[0] for line in lines)
    assert 2 == len(error(BRIDGE_SINK="redis,none", BRIDGE_REDIS_SHARDS="0").splitlines())


def test_tls_needs_a_tls_url_and_both_halves(tmp_path: Path) -> None:
    """Certificates for amqp:// would be ignored in silence, and half a pair cannot work."""
    file = tmp_path / "x.pem"
    file.touch()
    assert "only used with amqps://" in error(BRIDGE_BROKER_TLS_CA=str(file))
    assert "only used with amqps://" in error(BRIDGE_BROKER_TLS_VERIFY="false")
    for half in ("CERT", "KEY"):
        assert "both or neither" in error(BRIDGE_BROKER_URL="amqps://h", **{f"BRIDGE_BROKER_TLS_{half}": str(file)})
    both = {"BRIDGE_BROKER_TLS_CERT": str(file), "BRIDGE_BROKER_TLS_KEY": str(file)}
    assert rabbitmq(BRIDGE_BROKER_URL="amqps://h", **both).broker_tls_key == file
    assert not rabbitmq(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_VERIFY="false").broker_tls_verify
    assert rabbitmq(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_CA=str(file)).broker_tls_ca == file


@pytest.mark.parametrize("text", ["1", '"x"', "null"])
def test_transport_options_are_an_object(text: str) -> None:
    """JSON alone is not enough."""
    assert error(BRIDGE_BROKER_TRANSPORT_OPTIONS=text).startswith("BRIDGE_BROKER_TRANSPORT_OPTIONS=")


@pytest.mark.parametrize("text", ["!!task-sent", "!", "task-*,!"])
def test_a_pattern_has_to_say_something(text: str) -> None:
    """A lone exclamation mark, or two, is a mistake."""
    assert "event types separated by commas" in error(BRIDGE_EVENT_TYPES=text)


@pytest.mark.parametrize("transport", [*sorted(NO_EVENTS), "sqlalchemy+postgresql"])
def test_every_transport_without_events_is_refused_with_its_reason(transport: str) -> None:
    """Celery's events cannot be had there, whichever of several URLs it is; one line says why."""
    name = transport.partition("+")[0]
    for url in (f"{transport}://h/", f"amqp://h//;{transport}://h"):
        line = error(BRIDGE_BROKER_URL=url)
        assert f"Celery's events cannot be taken off {name}://: {NO_EVENTS[name]}" in line
        assert 1 == len(line.splitlines())


def test_the_sinks_errors_have_the_sinks_prefix() -> None:
    """The line names the variable as the user wrote it."""
    assert error(BRIDGE_SINK="redis", BRIDGE_REDIS_WAIT="-1").startswith("BRIDGE_REDIS_WAIT=-1: ")
    assert error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL="http://h").startswith("BRIDGE_REDIS_URL=http://h: ")


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("BRIDGE_OVERFLOW_MAX_BYTES", "9" * 20, "expected a size below 2^63 bytes"),
        ("BRIDGE_REJECTED_MAX_BYTES", "9" * 400, "expected a size below 2^63 bytes"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "9999999999999TiB", "expected a size below 2^63 bytes"),
        ("BRIDGE_SHUTDOWN_TIMEOUT", "9" * 400, "expected at most 31 years"),
        ("BRIDGE_RETRY_MAX_INTERVAL", "2000w", "expected at most 31 years"),
        ("BRIDGE_SQLITE_RETENTION", "9" * 400, "expected at most 31 years"),
        ("BRIDGE_KAFKA_RETENTION", "99999999d", "expected at most 31 years"),
        ("BRIDGE_QUEUE", "q" * 201, "expected at most 200 bytes"),
        ("BRIDGE_QUEUE", "ß" * 101, "expected at most 200 bytes"),
        ("BRIDGE_EVENT_EXCHANGE", "e" * 256, "expected at most 200 bytes"),
        ("BRIDGE_QUEUE", "celery", "a queue of Celery's own"),
        ("BRIDGE_QUEUE", "w1@host.celery.pidbox", "a queue of Celery's own"),
        ("BRIDGE_EVENT_EXCHANGE", "celery", "an exchange of Celery's for other messages than events"),
        ("BRIDGE_EVENT_EXCHANGE", "celery.pidbox", "an exchange of Celery's for other messages than events"),
        ("BRIDGE_EVENT_EXCHANGE", "amq.topic", "or of RabbitMQ's own"),
        ("BRIDGE_REDIS_URL", "redis://h/celery-events", "after the host comes the database's number"),
        ("BRIDGE_REDIS_URL", "rediss://u:pw@h/0/events", "after the host comes the database's number"),
    ],
)
def test_what_no_server_would_take_is_refused(name: str, text: str, allowed: str) -> None:
    """By the name of its variable, before anything is connected."""
    found = error(BRIDGE_SINK="redis,kafka,sqlite", **{name: text})
    assert (True, True, False) == (found.startswith(f"{name}="), allowed in found, "pw@" in found), found
