"""A file of settings: TOML, below the variables, and as careful with what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from celery_event_bridge import cli
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.config.loading import SettingsError, load
from celery_event_bridge.config.settings_file import with_file
from celery_event_bridge.reading.streams import find

EXAMPLE = """
sink = ["kafka", "sqlite"]
queue_ttl = 10
declare = false
event_types = ["task-*", "!task-received"]
broker_transport_options = { confirm_publish = true }
broker-url = "amqp://u:sesame@h//"

[kafka]
bootstrap_servers = "kafka1:9092"
linger_ms = 5
sasl.password = "sesame"

[sqlite]
retention = "30d"
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """Writes one, and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "bridge.toml"
        path.write_text(text)
        return str(path)

    return write


def error(path: str, **variables: str) -> str:
    with pytest.raises(SettingsError) as failure:
        load({"BRIDGE_CONFIG": path, **variables})
    return str(failure.value)


def test_every_kind_of_value(file: Callable[[str], str]) -> None:
    """Numbers, truth, lists, objects, and a sink's settings in a table of its name."""
    chosen = load({"BRIDGE_CONFIG": file(EXAMPLE)})
    settings = chosen.settings
    assert (("kafka", "sqlite"), ("task-*", "!task-received")) == (settings.sink, settings.event_types)
    _, broker = chosen.broker
    assert isinstance(broker, Settings)
    assert (10.0, False, {"confirm_publish": True}) == (
        broker.queue_ttl,
        broker.declare,
        broker.broker_transport_options,
    )
    shown = chosen.effective()
    assert ("kafka1:9092", "5", "**") == tuple(
        shown[f"BRIDGE_KAFKA_{name}"] for name in ("BOOTSTRAP_SERVERS", "LINGER_MS", "SASL_PASSWORD")
    )
    assert "amqp://u:**@h//" == shown["BRIDGE_BROKER_URL"]
    assert {} == chosen.unknown


def test_a_variable_wins_and_an_option_over_it(file: Callable[[str], str], tmp_path: Path) -> None:
    """An empty variable says nothing; a variable's file is a variable; Celery's own is for who has none of ours."""
    path = file("queue_ttl = 10\nprefetch = 7\nbroker_url = 'amqp://a//'\n")
    other = {"BRIDGE_CONFIG": path, "BRIDGE_QUEUE_TTL": "20", "BRIDGE_PREFETCH": " ", "CELERY_BROKER_URL": "amqp://c//"}
    chosen = load(other).settings
    assert (7, "amqp://a//") == (chosen.prefetch, chosen.broker_url)
    assert "20" == load(other).effective()["BRIDGE_QUEUE_TTL"]
    assert "30" == load(other, {"BRIDGE_QUEUE_TTL": "30"}).effective()["BRIDGE_QUEUE_TTL"]
    (tmp_path / "url").write_text("amqp://b//\n")
    assert "amqp://b//" == load({**other, "BRIDGE_BROKER_URL_FILE": str(tmp_path / "url")}).settings.broker_url
    assert "10" == load({}, {"BRIDGE_CONFIG": path}).effective()["BRIDGE_QUEUE_TTL"]


def test_a_secret_may_be_in_a_file_that_it_names(file: Callable[[str], str], tmp_path: Path) -> None:
    """As `X_FILE` does."""
    (tmp_path / "url").write_text("amqp://u:sesame@b//\n")
    chosen = load({"BRIDGE_CONFIG": file(f"broker_url_file = '{tmp_path}/url'\n")})
    assert "amqp://u:sesame@b//" == chosen.settings.broker_url


def test_readers_have_it_too(file: Callable[[str], str], tmp_path: Path) -> None:
    """The same sink, and its settings."""
    environ = {"BRIDGE_CONFIG": file(f"sink = 'sqlite'\n[sqlite]\npath = '{tmp_path}/x.db'\n[redis]\nstream = 's'\n")}
    assert tmp_path / "x.db" == find(None, environ)[1].path  # type: ignore[attr-defined]
    assert "s" == find("redis://h/0", environ)[1].stream  # type: ignore[attr-defined]
    assert "celery-events" == find("redis://h/0?stream=celery-events", environ)[1].stream  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queue_ttl = 'soon'", "{path}: queue_ttl=soon: expected seconds or a duration"),
        ("prefetch = 0", "{path}: prefetch=0: expected at least 1"),
        ("[redis]\nshards = 0", "{path}: redis.shards=0: expected at least 1"),
        ("broker_tls_cert = '/etc/hostname'", "BRIDGE_BROKER_TLS_*: only used with amqps://"),
        ("prefetch = 1979-05-27", "{path}: prefetch: expected a text, a number, true, false, or a list"),
        ("sink = [1]", "{path}: sink: expected a text"),
        ("broker_url = 'amqp://u:sesame@h:x'", "{path}: broker_url=amqp://u:**@h:x: the port is no number"),
        ("broker_url = 'amqp://u:sesame@h//", "BRIDGE_CONFIG={path}: the file is not TOML at end of document"),
        ("a = 1\nb = = 2", "BRIDGE_CONFIG={path}: the file is not TOML at line 2, column 5"),
        ("a = \xff", "BRIDGE_CONFIG={path}: the file is not TOML"),
    ],
)
def test_what_is_wrong_in_it_is_named(file: Callable[[str], str], text: str, said: str) -> None:
    """With the file and the key, in one line, and no secret."""
    path = file(text)
    line = error(path, BRIDGE_SINK="redis,sqlite")
    assert (1, True) == (len(line.splitlines()), line.startswith(said.format(path=path))), line
    assert "sesame" not in line


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """And a name that would be read for the path, and not the settings."""
    assert f"BRIDGE_CONFIG={tmp_path}/none: cannot read the file: No such file" in error(f"{tmp_path}/none")
    assert "cannot read the file: Is a directory" in error(str(tmp_path))
    (tmp_path / "latin").write_bytes(b"queue = '\xe9'")
    assert "the file is not TOML" in error(str(tmp_path / "latin"))
    with pytest.raises(SettingsError, match="BRIDGE_CONFIG_FILE: there is no such setting; BRIDGE_CONFIG is the path"):
        load({"BRIDGE_CONFIG_FILE": str(tmp_path)})


def test_a_key_that_nothing_knows_is_reported(file: Callable[[str], str]) -> None:
    """By its own name, with the nearest setting; a table of a sink that is not selected is passed over."""
    path = file("preftech = 1\n[redis]\nnonsense = 1\n[sqlite]\npaht = 'x'\n")
    assert [
        f"{path}: preftech: unknown setting, did you mean BRIDGE_PREFETCH?",
        f"{path}: sqlite.paht: unknown setting, did you mean BRIDGE_SQLITE_PATH?",
    ] == [*load({"BRIDGE_CONFIG": path}).unknown.values()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("BRIDGE_BROKER_URL = 'amqp://u:sesame@h//'", "BRIDGE_BROKER_URL: in a file it is broker_url"),
        ("bridge_sink = ['redis']", "bridge_sink: in a file it is sink"),
        ("[kafka]\nBRIDGE_KAFKA_TOPIC = 't'", "kafka.BRIDGE_KAFKA_TOPIC: in a file it is kafka.topic"),
    ],
)
def test_a_key_that_is_a_variables_name_is_refused(file: Callable[[str], str], text: str, wanted: str) -> None:
    """The default would be used in its place; the line says what the key is called in a file."""
    path = file(text)
    assert f"{path}: {wanted}" == error(path)


def test_without_one_nothing_is_read() -> None:
    """The environment is as it is."""
    assert (os.environ, {}) == with_file(os.environ)


def test_the_command_line_takes_it(file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As an option; and what goes wrong later shows none of its secrets."""
    for name in [name for name in os.environ if name.startswith(("BRIDGE_", "CELERY_"))]:
        monkeypatch.delenv(name)
    path = file("prefetch = 3\nbroker_url = 'amqp://u:sesame@h//'\n")
    with CliRunner().isolation() as (out, err, _):
        assert 0 == cli.exit_code_of(["settings", "--config", path])
        assert "  BRIDGE_PREFETCH=3  (default: 2000)" in out.getvalue().decode().splitlines()
        assert "sesame" not in (out.getvalue() + err.getvalue()).decode()
    assert "it said u:**" == cli._harmless("it said u:sesame", ["run", f"--config={path}"])
    assert cli.is_debugging(["run", "--config", file("log_level = 'debug'")])
