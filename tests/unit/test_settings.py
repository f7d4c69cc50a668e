"""Settings: what is allowed, what is refused and how, and what never gets into an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.secrets import hide_secrets, is_secret
from bridge.settings import Settings
from bridge.settings_source import Loaded, SettingsError, load


def settings(**variables: str) -> Settings:
    return load(variables).settings


def error(**variables: str) -> str:
    with pytest.raises(SettingsError) as failure:
        load(variables)
    return str(failure.value)


def test_defaults_are_the_contracts() -> None:
    """Without any variable the values are those that users depend on."""
    defaults = settings()
    assert ("amqp://guest:guest@localhost:5672//",) == defaults.broker_urls
    assert ("celeryev", "celeryev.bridge", "quorum", 5.0) == (
        defaults.event_exchange,
        defaults.queue,
        defaults.queue_type,
        defaults.queue_ttl,
    )
    assert (4 * 2**30, 256 * 2**20, 2000, 16 * 2**20, 16 * 2**20) == (
        defaults.overflow_max_bytes,
        defaults.rejected_max_bytes,
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
    [("0.0.0.0:9810", ("0.0.0.0", 9810)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0)), ("off", None)],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    """HOST:PORT, an IPv6 address in brackets, or off."""
    assert address == settings(BRIDGE_HTTP=text).http


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("BRIDGE_PREFETCH", "0", "greater than or equal to 1"),
        ("BRIDGE_PREFETCH", "65536", "less than or equal to 65535"),
        ("BRIDGE_PREFETCH", "many", "valid integer"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "lots", "a size such as 16MiB"),
        ("BRIDGE_MAX_INFLIGHT_BYTES", "16XiB", "a size such as 16MiB"),
        ("BRIDGE_QUEUE_TTL", "-1", "seconds or a duration"),
        ("BRIDGE_QUEUE_TTL", "60d", "less than or equal to 4294967"),
        ("BRIDGE_QUEUE_TYPE", "stream", "'quorum' or 'classic'"),
        ("BRIDGE_DECLARE", "perhaps", "valid boolean"),
        ("BRIDGE_EVENT_TYPES", "task-*,!", "event types separated by commas"),
        ("BRIDGE_HTTP", "9810", "HOST:PORT"),
        ("BRIDGE_HTTP", "localhost:99999", "HOST:PORT"),
        ("BRIDGE_BROKER_TRANSPORT_OPTIONS", "{", "JSON"),
        ("BRIDGE_BROKER_URL", "http://h/", "amqp://"),
        ("BRIDGE_BROKER_URL", ";", "a URL such as"),
        ("BRIDGE_BROKER_URL", "amqp://h:99999/", "the port is no number"),
        ("BRIDGE_SINK", "cassandra", "no such sink; there are redis, sqlite, stdout"),
        ("BRIDGE_SINK", ",", "at least one name"),
        ("BRIDGE_SQLITE_RETENTION", "for ever", "seconds or a duration"),
        ("BRIDGE_BROKER_TLS_CA", "/nowhere.pem", "Path does not point to a file"),
    ],
)
def test_what_is_not_allowed(name: str, text: str, allowed: str) -> None:
    """One line with the variable, the value and what is allowed."""
    (line,) = error(**{name: text}).splitlines()
    assert line.startswith(f"{name}={text}: ")
    assert allowed in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BRIDGE_SHARDS", "2"),
        ("BRIDGE_ORDERED", "true"),
        ("BRIDGE_REDACT", "args"),
        ("BRIDGE_SINK", "kafka"),
        ("BRIDGE_SINK", "sqlite,kafka"),
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
    """Two mistakes are two lines."""
    assert 2 == len(error(BRIDGE_PREFETCH="x", BRIDGE_QUEUE_TYPE="y").splitlines())


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
    assert "b" == load(both, {"BRIDGE_QUEUE": "b"}).settings.queue


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
    assert "docs/reference/settings.md" in line


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
    assert settings(BRIDGE_BROKER_URL="amqps://h", BRIDGE_BROKER_TLS_CA=str(file)).broker_tls_ca == file


@pytest.mark.parametrize("password", ["sesame", "ses:ame", "ses@ame", "ses/ame", "ses#ame?x", "%40sesame"])
@pytest.mark.parametrize("scheme", ["amqp", "ftp"])
def test_no_password_gets_into_an_error_or_a_listing(scheme: str, password: str) -> None:
    """Not even one that should have been encoded."""
    url = f"{scheme}://user:{password}@h:99999/"
    assert "ame" not in error(BRIDGE_BROKER_URL=url).partition(": ")[0].replace("sesame-free", "")
    assert password not in error(BRIDGE_BROKER_URL=url)


def test_a_url_without_its_scheme_shows_no_password() -> None:
    """Nor does what only looks like one."""
    assert "sesame" not in error(BRIDGE_BROKER_URL="guest:sesame@127.0.0.1")


@pytest.mark.parametrize("password", ["p@ss", "p/w", "p@s/s", "p#w", "p?w@x"])
def test_a_password_that_is_not_encoded_is_said_so(password: str) -> None:
    """It would be taken for another part of the URL, and the host would not be found."""
    assert "%-encoded" in error(BRIDGE_BROKER_URL=f"amqp://guest:{password}@127.0.0.1:5672//")


def test_secrets_are_hidden_wherever_they_stand() -> None:
    """In a text, in several URLs, and by the name of what holds them."""
    assert "amqp://u:**@a;amqp://u:**@b x" == hide_secrets("amqp://u:p@a;amqp://u:p:@q@b x")
    assert "redis://:**@h/0" == hide_secrets("redis://:p@h/0")
    assert "no url: a@b" == hide_secrets("no url: a@b")
    for name in ("BRIDGE_KAFKA_SASL_PASSWORD", "BRIDGE_X_TOKEN", "BRIDGE_X_CLIENT_SECRET", "BRIDGE_X_API_KEY"):
        assert is_secret(name)
    assert not is_secret("BRIDGE_BROKER_TLS_KEY")
