"""Settings: what is allowed, what is refused and how, and what never gets into an error."""

from __future__ import annotations

import os
import re
import threading
import traceback
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from celery_event_bridge.brokers.rabbitmq import settings as rabbitmq_settings
from celery_event_bridge.config import plugins, validation
from celery_event_bridge.config.loading import Loaded, SettingsError, load
from celery_event_bridge.config.settings import NO_EVENTS, Settings
from celery_event_bridge.contract import bounded_file, secret_files, values as settings_values
from celery_event_bridge.contract.secret_files import SecretFiles
from celery_event_bridge.contract.secrets import hide_in_url, hide_secrets, is_secret
from celery_event_sinks.kafka.settings import KafkaSettings


def settings(**variables: str) -> Settings:
    return load(variables).settings


def rabbitmq(**variables: str) -> rabbitmq_settings.Settings:
    _, made = load(variables).broker
    assert isinstance(made, rabbitmq_settings.Settings)
    return made


def error(**variables: str) -> str:
    with pytest.raises(SettingsError) as failure:
        load(variables)
    return str(failure.value)


def test_defaults_are_the_contracts() -> None:
    """Without any variable the values are those that users depend on."""
    defaults, of_broker = settings(), rabbitmq()
    assert ("amqp://guest:guest@localhost:5672//",) == defaults.broker_urls
    assert ("celeryev", "celeryev.bridge", "quorum", 5.0) == (
        of_broker.event_exchange,
        of_broker.queue,
        of_broker.queue_type,
        of_broker.queue_ttl,
    )
    assert (4 * 2**30, 256 * 2**20, 2000, 16 * 2**20, 16 * 2**20) == (
        of_broker.overflow_max_bytes,
        of_broker.rejected_max_bytes,
        defaults.prefetch,
        defaults.max_inflight_bytes,
        defaults.max_message_bytes,
    )
    assert (("*",), ("sqlite",), 10.0, 30.0, 25.0, ("127.0.0.1", 9810)) == (
        defaults.event_types,
        defaults.sink,
        defaults.retry_max_interval,
        defaults.let_go_after,
        defaults.shutdown_timeout,
        defaults.http,
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 2**20),
        ("16MiB", 2**24),
        ("500kB", 500_000),
        ("1.5 GiB", 3 * 2**29),
        ("2M", 2_000_000),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes may have a unit, of 1000 or of 1024."""
    assert size == settings(BRIDGE_MAX_INFLIGHT_BYTES=text).max_inflight_bytes


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("0.5", 0.5), ("500ms", 0.5), ("10m", 600), ("7d", 604800)])
def test_durations(text: str, seconds: float) -> None:
    """Durations are seconds, or have a unit."""
    assert seconds == settings(BRIDGE_LET_GO_AFTER=text).let_go_after


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:9810", ("0.0.0.0", 9810)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:0", ("localhost", 0)),
        (" localhost:65535 ", ("localhost", 65535)),
        ("off", None),
        (" OFF ", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    """HOST:PORT, an IPv6 address in brackets, or off."""
    assert address == settings(BRIDGE_HTTP=text).http


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
        ("BRIDGE_BROKER_URL", "amqp://h:99999/", "the port is no number"),
        ("BRIDGE_SINK", "cassandra", "no such sink; there are kafka, redis, sqlite, stdout"),
        ("BRIDGE_SINK", ",", "at least one name"),
        ("BRIDGE_SQLITE_RETENTION", "for ever", "seconds or a duration"),
        ("BRIDGE_BROKER_TLS_CA", "/nowhere.pem", "there is no such file"),
    ],
)
def test_what_is_not_allowed(name: str, text: str, allowed: str) -> None:
    """One line with the variable, the value and what is allowed."""
    (line,) = error(**{name: text}).splitlines()
    assert line.startswith(f"{name}={text}: ")
    assert allowed in line


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
        ("BRIDGE_SHARDS", "2"),
        ("BRIDGE_ORDERED", "true"),
        ("BRIDGE_REDACT", "args"),
        ("BRIDGE_BROKER_URL", "redis://h/0"),
        ("BRIDGE_BROKER_URL", "memory://"),
    ],
)
def test_what_a_later_version_will_serve_is_refused(name: str, text: str) -> None:
    """A setting that this version cannot honour is never ignored."""
    assert "not available yet" in error(**{name: text})


def test_redis_clusters_are_refused_until_they_can_be_served() -> None:
    """Neither a cluster nor a sentinel is taken for a single server."""
    for scheme in ("redis+cluster", "redis+sentinel"):
        assert "not available yet" in error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL=f"{scheme}://h:1/0")


@pytest.mark.parametrize("scheme", ["sqs", "azureservicebus", "confluentkafka", "sqlalchemy+postgresql"])
def test_a_broker_that_cannot_carry_events_is_refused_with_the_reason(scheme: str) -> None:
    """Where Celery's events cannot travel, the line says so."""
    assert "no fan-out" in error(BRIDGE_BROKER_URL=f"{scheme}://h/")


def test_all_errors_are_said_at_once() -> None:
    """Each mistake is a line: the core's, those of each sink, and a sink that there is none of."""
    wrong = {"BRIDGE_PREFETCH": "x", "BRIDGE_QUEUE_TYPE": "y", "BRIDGE_REDIS_SHARDS": "0", "BRIDGE_KAFKA_TOPIC": "a b"}
    lines = error(BRIDGE_SINK="kafka,redis,none", **wrong).splitlines()
    assert [*sorted(wrong), "BRIDGE_SINK"] == sorted(line.partition("=")[0] for line in lines)
    assert 2 == len(error(BRIDGE_SINK="redis,none", BRIDGE_REDIS_SHARDS="0").splitlines())


def test_celerys_own_variable_is_the_fallback() -> None:
    """CELERY_BROKER_URL counts where BRIDGE_BROKER_URL is unset, and is named where it is wrong."""
    assert ("amqp://a//",) == settings(CELERY_BROKER_URL="amqp://a//").broker_urls
    assert ("amqp://b//",) == settings(CELERY_BROKER_URL="amqp://a//", BRIDGE_BROKER_URL="amqp://b//").broker_urls
    assert error(CELERY_BROKER_URL="sqs://").startswith("CELERY_BROKER_URL=sqs://: ")


def test_several_urls_are_tried_in_turn() -> None:
    """A semicolon separates them."""
    assert ("amqp://a//", "amqp://b//") == settings(BRIDGE_BROKER_URL="amqp://a//; amqp://b//").broker_urls


def test_a_file_may_hold_the_value(tmp_path: Path) -> None:
    """`X_FILE` is read, one newline at its end removed."""
    file = tmp_path / "url"
    file.write_text("amqp://user:secret@h//\n")
    assert "amqp://user:secret@h//" == settings(BRIDGE_BROKER_URL_FILE=str(file)).broker_url
    file.write_text("redis://:pw@h/1\n")
    loaded = load({"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL_FILE": str(file)})
    assert "BRIDGE_REDIS_URL=redis://:**@h/1" in [f"{name}={text}" for name, text in loaded.effective().items()]


def test_a_file_and_a_value_are_too_much(tmp_path: Path) -> None:
    """Both at once is an error that names both; an option settles it."""
    both = {"BRIDGE_QUEUE": "a", "BRIDGE_QUEUE_FILE": str(tmp_path / "none")}
    assert "BRIDGE_QUEUE and BRIDGE_QUEUE_FILE" in error(**both)
    assert "b" == load(both, {"BRIDGE_QUEUE": "b"}).effective()["BRIDGE_QUEUE"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The line names the variable and the path."""
    assert f"BRIDGE_QUEUE_FILE={tmp_path}/none: cannot read the file" in error(BRIDGE_QUEUE_FILE=f"{tmp_path}/none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in error(BRIDGE_QUEUE_FILE=f"{tmp_path}/binary")


def test_options_win() -> None:
    """A command-line option wins over the variable of its name."""
    assert 7 == load({"BRIDGE_PREFETCH": "5"}, {"BRIDGE_PREFETCH": "7"}).settings.prefetch


def test_an_empty_variable_is_unset() -> None:
    """As compose files leave it."""
    assert 2000 == settings(BRIDGE_PREFETCH=" ").prefetch


def unknown(**variables: str) -> tuple[str, ...]:
    loaded: Loaded = load(variables)
    return tuple(loaded.unknown.values())


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    """A typing error does not pass in silence."""
    assert ("BRIDGE_PREFTECH: unknown setting, did you mean BRIDGE_PREFETCH?",) == unknown(BRIDGE_PREFTECH="1")
    assert ("BRIDGE_SQLITE_PAHT: unknown setting, did you mean BRIDGE_SQLITE_PATH?",) == unknown(BRIDGE_SQLITE_PAHT="x")
    (line,) = unknown(BRIDGE_XYZZY="1")
    assert "`celery-event-bridge settings` lists all" in line


def test_settings_of_a_sink_that_is_not_selected_are_passed_over() -> None:
    """They do no harm, and may belong to another run."""
    assert () == unknown(BRIDGE_REDIS_URL="redis://h", BRIDGE_KAFKA_TOPIC="t")


def test_what_kubernetes_injects_is_passed_over() -> None:
    """Services called `bridge` or `bridge-...` make variables of our prefix; a real setting beside them is read."""
    injected = {
        "BRIDGE_SERVICE_HOST": "10.0.0.1",
        "BRIDGE_SERVICE_PORT": "80",
        "BRIDGE_SERVICE_PORT_HTTP": "80",
        "BRIDGE_PORT": "tcp://10.0.0.1:80",
        "BRIDGE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "BRIDGE_PORT_80_TCP_PROTO": "tcp",
        "BRIDGE_PORT_80_TCP_ADDR": "10.0.0.1",
        "BRIDGE_SQLITE_SERVICE_HOST": "10.0.0.1",
        "BRIDGE_KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    }
    assert () == unknown(**injected)
    assert 1 == len(unknown(BRIDGE_PORT="9810"))


def test_tls_needs_a_tls_url_and_both_halves(tmp_path: Path) -> None:
    """Certificates for amqp:// would be ignored in silence, and half a pair cannot work."""
    file = tmp_path / "x.pem"
    file.touch()
    assert "only used with amqps://" in error(BRIDGE_BROKER_TLS_CA=str(file))
    assert "both or neither" in error(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_CERT=str(file))
    assert rabbitmq(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_CA=str(file)).broker_tls_ca == file


@pytest.mark.parametrize(
    "password", ["sesame", "ses:ame", "ses@ame", "ses/ame", "ses;ame", "1;s@e:s/ame", "ses#ame?x", "%40sesame"]
)
@pytest.mark.parametrize("scheme", ["amqp", "ftp"])
def test_no_password_gets_into_an_error_or_a_listing(scheme: str, password: str) -> None:
    """Not even one that should have been encoded."""
    url = f"{scheme}://user:{password}@h:99999/"
    assert "ame" not in error(BRIDGE_BROKER_URL=url).partition(": ")[0].replace("sesame-free", "")
    assert password not in error(BRIDGE_BROKER_URL=url)


def test_a_url_without_its_scheme_shows_no_password() -> None:
    """Nor does what only looks like one."""
    assert "sesame" not in error(BRIDGE_BROKER_URL="guest:sesame@127.0.0.1")


def test_an_error_that_repeats_the_url_shows_no_password() -> None:
    """As Python's does of a host with a character that could pass for another."""
    found = error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL="redis://u:sesame@h\u2100/0")
    assert (True, False) == ("BRIDGE_REDIS_URL=redis://u:**@h" in found, "sesame" in found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis:/u:p@h/0", "**@h/0"),
        ("u:p@q:r@h:1", "**@h:1"),
        ("redis:// u:p@h", "**@h"),
        ("redis:///u:p@h/0", "redis:///u:**@h/0"),
        ("amqp://h;amqp:/u:p;q@h2;amqp://v:p@h3", "amqp://h;**@h2;amqp://v:**@h3"),
        ("amqp:/u:p@h;amqp://v:p@h2", "**@h;amqp://v:**@h2"),
        ("amqp://u:p;q@h", "amqp://u:**@h"),
        ("redis://h/0?stream=a@b", "redis://h/0?stream=a@b"),
        ("redis://h/0", "redis://h/0"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_should_have_been_a_url_shows_no_password(given: str, shown: str) -> None:
    """Where its slashes are mistyped all before the last @ is hidden, in each of several."""
    assert shown == hide_in_url(given)


@pytest.mark.parametrize("password", ["p@ss", "p/w", "p@s/s", "p#w", "p?w@x"])
def test_a_password_that_is_not_encoded_is_said_so(password: str) -> None:
    """It would be taken for another part of the URL, and the host would not be found."""
    assert "%-encoded" in error(BRIDGE_BROKER_URL=f"amqp://guest:{password}@127.0.0.1:5672//")


def test_secrets_are_hidden_wherever_they_stand() -> None:
    """In a text, in several URLs, and by the name of what holds them."""
    assert "amqp://u:**@a;amqp://u:**@b x" == hide_secrets("amqp://u:p@a;amqp://u:p:@q@b x")
    assert "redis://:**@h/0" == hide_secrets("redis://:p@h/0")
    assert "no url: a@b" == hide_secrets("no url: a@b")
    assert "amqp://u:**@h:1//" == hide_secrets("amqp://u:my p@ss word@h:1//")
    assert "redis://:**@h:1/0 is away" == hide_secrets("redis://:two words@h:1/0 is away")
    assert "amqp://h:5672// is away, see a@b" == hide_secrets("amqp://h:5672// is away, see a@b")
    for name in ("BRIDGE_KAFKA_SASL_PASSWORD", "BRIDGE_X_TOKEN", "BRIDGE_X_CLIENT_SECRET", "BRIDGE_X_API_KEY"):
        assert is_secret(name)
    assert not is_secret("BRIDGE_BROKER_TLS_KEY")


LIMITS = [
    ("BRIDGE_PREFETCH", "1", "0"),
    ("BRIDGE_PREFETCH", "65535", "65536"),
    ("BRIDGE_SHARDS", "1", "0"),
    ("BRIDGE_QUEUE", "q" * 200, "q" * 201),
    ("BRIDGE_QUEUE_TTL", "0", "-0.001"),
    ("BRIDGE_QUEUE_TTL", "4294967", "4294967.1"),
    ("BRIDGE_OVERFLOW_MAX_BYTES", "1", "0"),
    ("BRIDGE_REJECTED_MAX_BYTES", "1", "0"),
    ("BRIDGE_MAX_INFLIGHT_BYTES", "64KiB", "65535"),
    ("BRIDGE_MAX_MESSAGE_BYTES", "1KiB", "1023"),
    ("BRIDGE_RETRY_MAX_INTERVAL", "1ms", "0"),
    ("BRIDGE_LET_GO_AFTER", "1ms", "0"),
    ("BRIDGE_SHUTDOWN_TIMEOUT", "0", "-1"),
    ("BRIDGE_HTTP", "h:65535", "h:65536"),
    ("BRIDGE_SQLITE_RETENTION", "1s", "0"),
]


@pytest.mark.parametrize(("name", "last", "beyond"), LIMITS)
def test_limits_are_inclusive(name: str, last: str, beyond: str) -> None:
    """The last value that is allowed is taken, the next is refused by name."""
    assert name in load({name: last}).effective()
    assert error(**{name: beyond}).startswith(f"{name}={beyond}: ")


@pytest.mark.parametrize("field", [name for name, field in Settings.model_fields.items() if field.metadata])
def test_every_limit_has_been_tried(field: str) -> None:
    """A limit that is new is in the table above; what takes no limit has a parser of its own."""
    parsed = {"event_exchange", "event_types", "redact", "sink", "broker_transport_options"}
    files = {"broker_tls_ca", "broker_tls_cert", "broker_tls_key"}
    assert field in {name.removeprefix("BRIDGE_").lower() for name, _, _ in LIMITS} | parsed | files


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("BRIDGE_QUEUE_TYPE", "Classic", "queue_type", "classic"),
        ("BRIDGE_LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("BRIDGE_LOG_FORMAT", "JSON", "log_format", "json"),
        ("BRIDGE_DECLARE", "false", "declare", False),
        ("BRIDGE_DECLARE", "0", "declare", False),
        ("BRIDGE_DECLARE", "Yes", "declare", True),
        ("BRIDGE_EVENT_EXCHANGE", "events", "event_exchange", "events"),
        ("BRIDGE_EVENT_TYPES", "task-*, !task-sent ,task-*", "event_types", ("task-*", "!task-sent")),
        ("BRIDGE_SINK", "sqlite, stdout,sqlite", "sink", ("sqlite", "stdout")),
        ("BRIDGE_SHARDS", "1", "shards", 1),
        ("BRIDGE_ORDERED", "false", "ordered", False),
        ("BRIDGE_BROKER_TRANSPORT_OPTIONS", '{"a": {"b": 1}}', "broker_transport_options", {"a": {"b": 1}}),
    ],
)
def test_texts_and_their_values(name: str, text: str, field: str, value: object) -> None:
    """Case, blanks and repetitions do not matter where they mean nothing."""
    made = load({name: text})
    assert value == getattr(made.settings if field in Settings.model_fields else made.broker[1], field)


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null"])
def test_transport_options_are_an_object(text: str) -> None:
    """JSON alone is not enough."""
    assert error(BRIDGE_BROKER_TRANSPORT_OPTIONS=text).startswith("BRIDGE_BROKER_TRANSPORT_OPTIONS=")


@pytest.mark.parametrize("text", ["!!task-sent", "!", "task-*,!"])
def test_a_pattern_has_to_say_something(text: str) -> None:
    """A lone exclamation mark, or two, is a mistake."""
    assert "event types separated by commas" in error(BRIDGE_EVENT_TYPES=text)


@given(st.integers(0, 2**60))
def test_a_size_in_bytes_is_that_many(number: int) -> None:
    """So is a number of KiB, 1024 times over, as long as a float can say it."""
    assert number % 2**52 == settings_values.size(str(number % 2**52))
    assert number % 2**42 * 1024 == settings_values.size(f" {number % 2**42} KiB ")


@given(st.text(max_size=12))
def test_a_parser_takes_a_text_or_says_what_is_allowed(text: str) -> None:
    """No text makes a parser fail in any other way."""
    parsers = ("size", "duration", "retention_or_never", "words", "patterns", "address")
    failures = []
    for name in parsers:
        try:
            getattr(settings_values, name)(text)
        except ValueError as exc:
            failures.append(str(exc))
    assert [] == [failure for failure in failures if not failure.startswith("expected ")]


@pytest.mark.parametrize("name", ["size", "duration", "retention_or_never", "words", "patterns", "address"])
def test_what_is_no_text_is_taken_as_it_is(name: str) -> None:
    """So that defaults and tests can give values."""
    value = ("127.0.0.1", "9810")
    assert value is getattr(settings_values, name)(value)


def test_never_is_a_duration_where_it_may_be() -> None:
    """Only a setting that can be without one takes it."""
    assert "BRIDGE_SQLITE_RETENTION=never" in listing(BRIDGE_SQLITE_RETENTION="Never")
    assert error(BRIDGE_LET_GO_AFTER="never").startswith("BRIDGE_LET_GO_AFTER=never: expected seconds")


@pytest.mark.parametrize("transport", sorted(NO_EVENTS))
def test_every_transport_without_fan_out_is_refused(transport: str) -> None:
    """Celery's events cannot travel there, whichever of several URLs it is."""
    assert "no fan-out" in error(BRIDGE_BROKER_URL=f"amqp://h//;{transport}://h")


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_every_scheme_of_rabbitmq_is_served(scheme: str) -> None:
    """Celery's documentation uses all of them."""
    assert (f"{scheme}://h//",) == settings(BRIDGE_BROKER_URL=f"{scheme}://h//").broker_urls


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
        ("BRIDGE_REDIS_URL", "redis://h/celery-events", "after the host comes the database's number"),
        ("BRIDGE_REDIS_URL", "rediss://u:pw@h/0/events", "after the host comes the database's number"),
    ],
)
def test_what_no_server_would_take_is_refused(name: str, text: str, allowed: str) -> None:
    """By the name of its variable, before anything is connected."""
    found = error(BRIDGE_SINK="redis,kafka,sqlite", **{name: text})
    assert (True, True, False) == (found.startswith(f"{name}="), allowed in found, "pw@" in found), found


@pytest.mark.parametrize("url", ["redis://h", "redis://h/", "redis://h/15", "rediss://h:1/0", "unix:///run/redis"])
def test_a_redis_url_may_name_a_database(url: str) -> None:
    """By its number; a socket's path is no database."""
    assert f"BRIDGE_REDIS_URL={url}" in listing(BRIDGE_SINK="redis", BRIDGE_REDIS_URL=url)


def test_a_file_wins_over_celerys_variable_and_an_option_over_all(tmp_path: Path) -> None:
    """The nearest to the bridge counts."""
    file = tmp_path / "url"
    file.write_bytes(b"amqp://file//\r\n")
    environ = {"CELERY_BROKER_URL": "amqp://celery//", "BRIDGE_BROKER_URL_FILE": str(file)}
    assert ("amqp://file//",) == load(environ).settings.broker_urls
    options = {"BRIDGE_BROKER_URL": "amqp://option//"}
    assert ("amqp://option//",) == load(environ, options).settings.broker_urls
    assert ("amqp://option//",) == load({"CELERY_BROKER_URL": "amqp://celery//"}, options).settings.broker_urls


def test_empty_files_and_fallbacks_are_unset() -> None:
    """An empty `_FILE` beside a value is no conflict, and Celery's variable may be empty too."""
    assert "a" == rabbitmq(BRIDGE_QUEUE="a", BRIDGE_QUEUE_FILE="").queue
    assert "celeryev.bridge" == rabbitmq(BRIDGE_QUEUE_FILE=" ").queue
    assert ("amqp://guest:guest@localhost:5672//",) == settings(CELERY_BROKER_URL="", BRIDGE_BROKER_URL="").broker_urls


def test_a_sinks_secret_in_a_file_and_in_a_variable_is_too_much(tmp_path: Path) -> None:
    """The error names both variables and neither value."""
    (tmp_path / "url").write_text("redis://:sesame@h/1")
    text = error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL="redis://:open@h/0", BRIDGE_REDIS_URL_FILE=str(tmp_path / "url"))
    assert "BRIDGE_REDIS_URL and BRIDGE_REDIS_URL_FILE: both are set; give one of them" == text


def test_variables_of_others_are_not_looked_at() -> None:
    """Nothing without the prefix is a setting, a file or unknown."""
    assert {} == load({"PREFETCH": "0", "CELERY_QUEUE": "x", "MYBRIDGE_QUEUE_FILE": "/none"}).unknown


def test_the_settings_cannot_be_changed() -> None:
    """What was validated is what runs."""
    with pytest.raises(ValidationError, match="frozen"):
        settings().prefetch = 5


@pytest.mark.parametrize("cut", ["verify", "key"])
def test_tls_is_all_or_nothing(tmp_path: Path, cut: str) -> None:
    """Turning verification off for amqp://, or a key without its certificate, is a mistake."""
    file = tmp_path / "x.pem"
    file.touch()
    if cut == "verify":
        assert "only used with amqps://" in error(BRIDGE_BROKER_TLS_VERIFY="false")
        assert not rabbitmq(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_VERIFY="false").broker_tls_verify
    else:
        both = {"BRIDGE_BROKER_TLS_CERT": str(file), "BRIDGE_BROKER_TLS_KEY": str(file)}
        assert "both or neither" in error(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_KEY=str(file))
        assert file == rabbitmq(BRIDGE_BROKER_URL="amqps://h", **both).broker_tls_key


def listing(**variables: str) -> list[str]:
    return [f"{name}={text}" for name, text in load(variables).effective().items()]


def test_the_listing_has_every_setting_as_it_would_be_written() -> None:
    """The core's and the selected sinks', and no other sink's."""
    lines = listing(BRIDGE_SINK="stdout,sqlite", BRIDGE_DECLARE="no", BRIDGE_HTTP="off")
    names = [line.partition("=")[0] for line in lines]
    core = dict.fromkeys([*Settings.model_fields, *rabbitmq_settings.Settings.model_fields])
    assert [f"BRIDGE_{name.upper()}" for name in core] == names[: len(core)]
    assert {"BRIDGE_SQLITE_PATH", "BRIDGE_SQLITE_RETENTION"} == set(names[len(core) :])
    assert {"BRIDGE_SINK=stdout,sqlite", "BRIDGE_DECLARE=false", "BRIDGE_HTTP=off", "BRIDGE_BROKER_TLS_CA=unset"} <= {
        *lines
    }
    assert "BRIDGE_HTTP=127.0.0.1:9810" in listing()


def test_the_listing_hides_secrets() -> None:
    """In URLs, in a URL's query, and in the transport's options."""
    shown = "\n".join(
        listing(
            BRIDGE_BROKER_URL="amqp://u:sesame@a//;amqp://v:ses%40ame@b//",
            BRIDGE_BROKER_TRANSPORT_OPTIONS='{"login": {"password": "ses\'ame"}, "api_token": "sesame", "x": 1}',
            BRIDGE_SINK="redis",
            BRIDGE_REDIS_URL="redis://h/0?password=sesame&socket_keepalive=yes",
        )
    )
    assert [] == [password for password in ("sesame", "ses%40ame", "ses'ame") if password in shown]
    assert "BRIDGE_BROKER_URL=amqp://u:**@a//;amqp://v:**@b//" in shown
    assert "BRIDGE_REDIS_URL=redis://h/0?password=**&socket_keepalive=yes" in shown
    assert "'x': 1" in shown


@pytest.mark.parametrize("text", ['{"password": "sesame"', "{'password': 'sesame'}", '{"a": {"my_secret": "sesame"]'])
def test_broken_json_shows_no_secret(text: str) -> None:
    """It is what a person mistyped, quotes and all."""
    assert "sesame" not in error(BRIDGE_BROKER_TRANSPORT_OPTIONS=text)


def test_no_traceback_of_an_error_has_a_secret() -> None:
    """The library's own error, which prints values, is neither its cause nor its context."""
    with pytest.raises(SettingsError) as failure:
        load({"BRIDGE_BROKER_URL": "amqp://u:sesame@h:99999//", "BRIDGE_PREFETCH": "x"})
    assert failure.value.__cause__ is failure.value.__context__ is None
    assert "sesame" not in "".join(traceback.format_exception_only(failure.value))


class Opened(BaseModel):
    """Settings of a sink that is not ours and takes whatever has its prefix."""

    model_config = ConfigDict(extra="allow")

    password: SecretStr = SecretStr("")
    pin: SecretStr = SecretStr("")
    api_key: str = ""
    size: int = 1


class OpenedSink:
    Settings = Opened


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sinks that somebody else has installed; one lacks a library, ours and all."""
    entries = [
        EntryPoint("my-store", f"{__name__}:OpenedSink", plugins.SINKS),
        EntryPoint("lacking", "no_such_library.sink:Sink", plugins.SINKS),
        EntryPoint("redis", "no_such_library.sink:Sink", plugins.SINKS),
    ]
    entries[0].__dict__["load"] = lambda: OpenedSink
    found = plugins.entry_points
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: entries if group == plugins.SINKS else found(group=group)
    )


@pytest.mark.usefixtures("third_party")
def test_a_sink_of_a_third_party_is_as_good_as_ours() -> None:
    """Its settings have its prefix, and what its model takes is not unknown."""
    loaded = load({"BRIDGE_SINK": "my-store", "BRIDGE_MY_STORE_SIZE": "3", "BRIDGE_MY_STORE_ANYTHING": "x"})
    (_, opened) = loaded.sinks["my-store"]
    assert {"password": SecretStr(""), "pin": SecretStr(""), "api_key": "", "size": 3, "anything": "x"} == dict(opened)
    assert {} == loaded.unknown


@pytest.mark.usefixtures("third_party")
def test_a_third_partys_secrets_are_hidden() -> None:
    """By their type, or by their name."""
    secrets = {f"BRIDGE_MY_STORE_{name}": "sesame" for name in ("PASSWORD", "API_KEY", "PIN")}
    variables = {"BRIDGE_SINK": "my-store"} | secrets
    shown = load(variables).effective()
    assert dict.fromkeys(secrets, "**") == {name: shown[name] for name in secrets}
    assert "sesame" not in error(**variables, BRIDGE_MY_STORE_SIZE="x")


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("sink", "text"),
    [
        ("lacking", "BRIDGE_SINK=lacking: the package 'no_such_library' is not installed: install it"),
        ("redis", "is not installed: pip install 'redis>="),
        ("nothing", "BRIDGE_SINK=nothing: no such sink; there are lacking, my-store, redis"),
    ],
)
def test_a_sink_that_cannot_be_had(sink: str, text: str) -> None:
    """The line says what to install, or what there is."""
    assert text in error(BRIDGE_SINK=sink)


@pytest.mark.parametrize(
    "text",
    [
        "amqp://u:{}@h//",
        "amqp://u:{}@h//;amqp://v:{}@k//",
        "lost amqp://u:{}@h:5672//: try again",
        "redis://:{}@h/0",
        "redis://h/0?db=1&password={}&x=y",
        '{{"password": "{}"}}',
        "{{'PassWord' : '{}'}}",
    ],
)
@given(st.text("abcXYZ019:/@;!$%#?=+-_.~^()[]{}", min_size=8, max_size=20))
def test_whatever_a_password_is_made_of_it_is_hidden(text: str, password: str) -> None:
    """In every place where one may stand, and what surrounds it stays."""
    if "?" in text:
        password = password.replace("&", "").replace("#", "")
    assume(not re.search(r";[a-zA-Z][\w+.-]*://", password))  # that is where the next URL begins
    count = text.count("{}")
    assert text.format(*["**"] * count) == hide_secrets(text.format(*[password] * count))


def test_a_secret_shows_nothing_of_itself() -> None:
    """Not even what stands after an @, as it does in a URL."""
    assert "**" == validation.harmless("BRIDGE_X_PASSWORD", "open@sesame")


def test_a_secret_that_came_from_a_file_is_read_again(tmp_path: Path) -> None:
    """Also what was made of it; the value stays where the file is gone, empty, or was none."""
    file = tmp_path / "url"
    file.write_text("amqp://u:old@host//\n")
    (old,) = settings(BRIDGE_BROKER_URL_FILE=str(file)).broker_urls
    secret_files.derive(f"{old}?heartbeat=1", old, lambda url: f"{url}?heartbeat=1")
    assert old == secret_files.fresh(old)
    for content in ("", "\n"):
        file.write_text(content)
        assert old == secret_files.fresh(old)
    file.write_text("amqp://u:new@host//\n")
    assert secret_files.fresh(old) == "amqp://u:new@host//"
    assert secret_files.fresh(f"{old}?heartbeat=1") == "amqp://u:new@host//?heartbeat=1"
    file.write_text("amqp://u:newer@host//")
    for earlier in ("amqp://u:old@host//", "amqp://u:new@host//"):
        assert secret_files.fresh(earlier) == "amqp://u:newer@host//"
    assert secret_files.fresh("amqp://u:new@host//?heartbeat=1") == "amqp://u:newer@host//?heartbeat=1"
    file.unlink()
    assert secret_files.fresh(old) == old
    assert secret_files.fresh("amqp://u:typed@host//") == "amqp://u:typed@host//"


def test_of_two_secrets_that_were_the_same_each_has_its_own_file(tmp_path: Path) -> None:
    """The one whose file has changed is another, and the other one stays, whichever it is."""
    files = {name: tmp_path / name for name in ("sasl_password", "ssl_key_password")}
    for rotated, its_file in files.items():
        for file in files.values():
            file.write_text("same\n")
        given = {f"BRIDGE_KAFKA_{name.upper()}_FILE": str(file) for name, file in files.items()}
        (loaded,) = [made for _, made in load({"BRIDGE_SINK": "kafka", **given}).sinks.values()]
        assert isinstance(loaded, KafkaSettings)
        its_file.write_text("rotated\n")
        assert loaded.fresh().model_extra == dict.fromkeys(files, "same") | {rotated: "rotated"}


def test_a_secret_that_came_from_no_file_stays(tmp_path: Path) -> None:
    """Though another one from a file was the same."""
    file = tmp_path / "sasl_password"
    file.write_text("alike\n")
    given = {"BRIDGE_KAFKA_SASL_PASSWORD_FILE": str(file), "BRIDGE_KAFKA_SSL_KEY_PASSWORD": "alike"}
    (loaded,) = [made for _, made in load({"BRIDGE_SINK": "kafka", **given}).sinks.values()]
    assert isinstance(loaded, KafkaSettings)
    file.write_text("rotated\n")
    assert loaded.fresh().model_extra == {"sasl_password": "rotated", "ssl_key_password": "alike"}


def test_a_password_that_is_rolled_back_is_not_asked_for_without_end(tmp_path: Path) -> None:
    """A URL that was made of another one may come to be the origin of that one."""
    secrets = SecretFiles()
    file = tmp_path / "url"
    file.write_text("old\n")
    secrets.remember("old", file)
    secrets.derive("old", "old", lambda origin: origin)
    secrets.derive("old/", "old", lambda origin: f"{origin}/")
    secrets.derive("old", "old/", lambda origin: origin.removesuffix("/"))
    assert ("old", "old/") == (secrets.fresh("old"), secrets.fresh("old/"))
    file.write_text("new\n")
    assert ("new", "new/") == (secrets.fresh("old"), secrets.fresh("old/"))


def test_a_secret_that_one_of_its_files_still_holds_stays(tmp_path: Path) -> None:
    """Nobody can tell which of them was meant; once all have changed it is another one."""
    secrets = SecretFiles()
    first, second = tmp_path / "first", tmp_path / "second"
    for file in (first, second):
        file.write_text("same\n")
        secrets.remember("same", file)
    first.write_text("rotated\n")
    assert secrets.fresh("same") == "same"
    second.write_text("rotated\n")
    assert secrets.fresh("same") == "rotated"


def test_a_pipe_may_be_given_at_the_start(tmp_path: Path) -> None:
    """As of a shell's process substitution, whose writer may be gone by then; all of it is read."""
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:" + b"x" * 9000)
    threading.Timer(0.2, lambda: (os.write(writing, b"@host//\n"), os.close(writing))).start()
    value = settings(BRIDGE_BROKER_URL_FILE=f"/dev/fd/{reading}").broker_url
    assert f"amqp://u:{'x' * 9000}@host//" == value
    os.close(reading)
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:pw@host//\n")
    os.close(writing)
    assert "amqp://u:pw@host//" == settings(BRIDGE_BROKER_URL_FILE=f"/dev/fd/{reading}").broker_url
    os.close(reading)


def test_a_pipe_that_gives_nothing_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """After some seconds; and a device, or what is far too large for a secret, is at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TimeoutError, match="nothing came through it"):
        bounded_file.read(pipe, may_be_pipe=True, pipe_wait=0.1)
    keeps_open = os.open(pipe, os.O_RDWR)
    os.write(keeps_open, b"half")
    with pytest.raises(TimeoutError, match="its end did not come"):
        bounded_file.read(pipe, may_be_pipe=True, pipe_wait=0.1)
    os.close(keeps_open)
    assert "neither a regular file nor a pipe" in error(BRIDGE_BROKER_URL_FILE="/dev/zero")
    large = tmp_path / "large"
    large.write_bytes(b"x" * (bounded_file.LARGEST + 1))
    assert "more than" in error(BRIDGE_BROKER_URL_FILE=str(large))


@pytest.mark.timeout(30)
def test_a_secrets_file_that_became_a_pipe_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The value stays, and that it cannot be read again is said once, without it; a file in its place is read."""
    caplog.set_level("INFO")
    file = tmp_path / "url"
    file.write_text("amqp://u:open-sesame@host//\n")
    old = settings(BRIDGE_BROKER_URL_FILE=str(file)).broker_url
    file.unlink()
    os.mkfifo(file)
    for _ in range(3):
        assert old == secret_files.fresh(old)
    file.unlink()
    file.write_text("amqp://u:new@host//\n")
    assert secret_files.fresh(old) == "amqp://u:new@host//"
    said = [record.getMessage() for record in caplog.records]
    assert 1 == len(
        [line for line in said if f"BRIDGE_BROKER_URL_FILE={file} cannot be read again: it is a pipe" in line]
    )
    assert 1 == len([line for line in said if "can be read again" in line])
    assert "sesame" not in "".join(said)
