"""Values of settings: sizes, durations, addresses and words, and the limits of each."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.config.loading import load
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.contract import values as settings_values
from tests.support.settings import error, listing, settings


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


LIMITS = [
    ("BRIDGE_BROKER_NAME", "n" * 200, "n" * 201),
    ("BRIDGE_LINGER", "0", "-0.001"),
    ("BRIDGE_LINGER", "1", "1.001"),
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


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_every_scheme_of_rabbitmq_is_served(scheme: str) -> None:
    """Celery's documentation uses all of them."""
    assert (f"{scheme}://h//",) == settings(BRIDGE_BROKER_URL=f"{scheme}://h//").broker_urls


@pytest.mark.parametrize("url", ["redis://h", "redis://h/", "redis://h/15", "rediss://h:1/0", "unix:///run/redis"])
def test_a_redis_url_may_name_a_database(url: str) -> None:
    """By its number; a socket's path is no database."""
    assert f"BRIDGE_REDIS_URL={url}" in listing(BRIDGE_SINK="redis", BRIDGE_REDIS_URL=url)
