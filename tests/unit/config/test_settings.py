"""Settings: where each comes from, what wins, what is unknown, and how they are listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from celery_event_bridge.brokers.rabbitmq import settings as rabbitmq_settings
from celery_event_bridge.config.loading import Loaded, load
from celery_event_bridge.config.settings import Settings
from tests.support.settings import error, listing, rabbitmq, settings


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


def unknown(**variables: str) -> tuple[str, ...]:
    loaded: Loaded = load(variables)
    return tuple(loaded.unknown.values())


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    """A typing error does not pass in silence."""
    assert ("BRIDGE_PREFTECH: unknown setting, did you mean BRIDGE_PREFETCH?",) == unknown(BRIDGE_PREFTECH="1")
    assert ("BRIDGE_SQLITE_PAHT: unknown setting, did you mean BRIDGE_SQLITE_PATH?",) == unknown(BRIDGE_SQLITE_PAHT="x")
    (line,) = unknown(BRIDGE_XYZZY="1")
    assert "`celery-event-bridge settings` lists all" in line


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


def test_a_file_wins_over_celerys_variable_and_an_option_over_all(tmp_path: Path) -> None:
    """The nearest to the bridge counts."""
    file = tmp_path / "url"
    file.write_bytes(b"amqp://file//\r\n")
    environ = {"CELERY_BROKER_URL": "amqp://celery//", "BRIDGE_BROKER_URL_FILE": str(file)}
    assert ("amqp://file//",) == load(environ).settings.broker_urls
    options = {"BRIDGE_BROKER_URL": "amqp://option//"}
    assert ("amqp://option//",) == load(environ, options).settings.broker_urls
    assert ("amqp://option//",) == load({"BRIDGE_BROKER_URL": "amqp://variable//"}, options).settings.broker_urls
    assert ("amqp://option//",) == load({"CELERY_BROKER_URL": "amqp://celery//"}, options).settings.broker_urls


def test_what_is_empty_is_unset() -> None:
    """As compose files leave a variable; an empty `_FILE` beside a value is no conflict. Celery's own may be empty."""
    assert 2000 == rabbitmq(BRIDGE_PREFETCH=" ").prefetch
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
