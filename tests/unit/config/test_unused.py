"""Settings that are given and do nothing, as their sink, or their broker, is not selected."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, Json

from celery_event_bridge.config import plugins
from celery_event_bridge.config.loading import load
from celery_event_bridge.contract.broker_plugin import BrokerSettings
from tests.support.settings import SINKS_OF_OURS, unused


def test_settings_of_a_sink_that_is_not_selected_are_told_of() -> None:
    """Whoever sets a stream's address means it: a line a sink, with its variables, the selected sink, the way out."""
    (line,) = unused(BRIDGE_REDIS_URL="redis://:sesame@h")
    said, _, way_out = line.partition(": ")
    assert "BRIDGE_REDIS_URL is set, and BRIDGE_SINK is sqlite, so that nothing goes to redis" == said
    assert "select it by BRIDGE_SINK=redis" == way_out
    variables = {"BRIDGE_KAFKA_TOPIC": "t", "BRIDGE_REDIS_URL_FILE": "/x", "BRIDGE_REDIS_STREAM": "s"}
    kafka, redis = unused(BRIDGE_SINK="stdout,sqlite", **variables)
    assert kafka.startswith("BRIDGE_KAFKA_TOPIC is set, and BRIDGE_SINK is stdout,sqlite, so that nothing goes to k")
    assert redis.startswith("BRIDGE_REDIS_STREAM and BRIDGE_REDIS_URL_FILE are set, and BRIDGE_SINK is stdout,sqlite")
    assert [] == unused(BRIDGE_SINK="redis,kafka", BRIDGE_KAFKA_TOPIC="t", BRIDGE_REDIS_URL="redis://h")
    assert [] == unused(BRIDGE_REDIS_URL="", BRIDGE_REDIS_PORT="tcp://10.0.0.1:80")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("BRIDGE_REDIS_ULR", "BRIDGE_REDIS_ULR: unknown setting, did you mean BRIDGE_REDIS_URL?"),
        ("BRIDGE_REDIS_ULR_FILE", "BRIDGE_REDIS_ULR_FILE: unknown setting, did you mean BRIDGE_REDIS_URL?"),
        ("BRIDGE_REDIS_XYZZY", "BRIDGE_REDIS_XYZZY: unknown setting"),
        ("BRIDGE_KAFKA_TOPICC", "BRIDGE_KAFKA_TOPICC: unknown setting, did you mean BRIDGE_KAFKA_TOPIC?"),
        ("BRIDGE_KAFKA_XYZZY", "BRIDGE_KAFKA_XYZZY: unknown setting"),
        ("BRIDGE_KAFKA_BOOTSTRAP_SERVER", "did you mean BRIDGE_KAFKA_BOOTSTRAP_SERVERS?"),
    ],
)
def test_a_typing_error_in_one_is_told_of(variable: str, said: str) -> None:
    """With the sink that it belongs to, and the setting that was meant."""
    (line,) = unused(**{variable: "x"})
    assert line.startswith(f"{variable} is set, and BRIDGE_SINK is sqlite")
    assert said in line


@pytest.mark.parametrize(
    "variable",
    [
        "BRIDGE_KAFKA_ACKS",
        "BRIDGE_KAFKA_RETRIES",
        "BRIDGE_KAFKA_ISOLATION_LEVEL",
        "BRIDGE_KAFKA_SASL_PASSWORD_FILE",
        "BRIDGE_KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE",
    ],
)
def test_a_property_of_librdkafkas_is_no_typing_error(variable: str) -> None:
    """Though it is near the name of a setting of ours: it is one that is not used, and that is all."""
    (line,) = unused(**{variable: "x"})
    assert line == (
        f"{variable} is set, and BRIDGE_SINK is sqlite, so that nothing goes to kafka: select it by BRIDGE_SINK=kafka"
    )


def test_an_option_of_a_sink_that_is_not_selected_is_told_of() -> None:
    """As its variable is."""
    (line,) = load({}, {"BRIDGE_KAFKA_TOPIC": "t"}).unused
    assert line.startswith("BRIDGE_KAFKA_TOPIC is set, and BRIDGE_SINK is sqlite")


def test_a_setting_of_another_kind_of_broker_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the scheme of the broker that is selected."""

    class OfFolders(BrokerSettings):
        folder: str = ""

    models = (*plugins.broker_settings(), OfFolders)
    monkeypatch.setattr(plugins, "broker_settings", lambda: models)
    (line,) = unused(BRIDGE_FOLDER="x")
    assert line == "BRIDGE_FOLDER is set, and BRIDGE_BROKER_URL is amqp://, a broker that takes no such setting"


def test_an_object_of_any_broker_is_a_table_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any other table has the settings of a sink in it."""

    class OfFolders(BrokerSettings):
        folders: Json[dict[str, str]] = Field(default_factory=dict)

    models = (*plugins.broker_settings(), OfFolders)
    monkeypatch.setattr(plugins, "broker_settings", lambda: models)
    path = tmp_path / "bridge.toml"
    path.write_text("[folders]\nin = '/var/spool'\n")
    loaded = load({"BRIDGE_CONFIG": str(path)})
    assert {} == loaded.unknown
    assert [f"{path}: folders is set"] == [line.partition(",")[0] for line in loaded.unused]


def test_a_file_may_have_the_settings_of_all_sinks(tmp_path: Path) -> None:
    """Where something says which of them is selected; where nothing does, they are told of by their own names."""
    path = tmp_path / "bridge.toml"
    path.write_text("[redis]\nurl = 'redis://h'\n")
    (line,) = load({"BRIDGE_CONFIG": str(path)}).unused
    assert line.startswith(f"{path}: redis.url is set, and BRIDGE_SINK is sqlite")
    assert () == tuple(load({"BRIDGE_CONFIG": str(path), "BRIDGE_SINK": "sqlite"}).unused)
    path.write_text("sink = 'kafka'\n[redis]\nurl = 'redis://h'\n")
    assert () == tuple(load({"BRIDGE_CONFIG": str(path)}).unused)


@pytest.mark.parametrize("sink", SINKS_OF_OURS)
def test_the_stream_of_each_sink_has_a_name(sink: str) -> None:
    """What `run` logs when it starts: where events go, without a secret."""
    url = {"BRIDGE_REDIS_URL": "redis://:sesame@h/0"}
    named = load({"BRIDGE_SINK": sink, **url}).streams()
    fields = plugins.load(sink).Settings.model_fields
    assert bool(named) == bool(fields)
    assert all(name.startswith(f"{sink}_") for name in named)
    assert "sesame" not in str(named)
