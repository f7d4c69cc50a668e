"""Sinks of third parties: their settings are as good as ours, and as careful."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from celery_event_bridge.config import plugins
from celery_event_bridge.config.catalogue import of_sink
from celery_event_bridge.config.loading import SettingsError, load
from tests.support.settings import error


class Opened(BaseModel):
    """Settings of a sink that is not ours and takes whatever has its prefix."""

    model_config = ConfigDict(extra="allow")

    password: SecretStr = SecretStr("")
    pin: SecretStr = SecretStr("")
    api_key: str = ""
    size: int = 1
    keep: int | None = Field(None, json_schema_extra={"unset": "for ever", "default": "the store's"})


class OpenedSink:
    Settings = Opened


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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
    plugins.forget()
    yield
    plugins.forget()


@pytest.mark.usefixtures("third_party")
def test_a_sink_of_a_third_party_is_as_good_as_ours() -> None:
    """Its settings have its prefix, and what its model takes is not unknown."""
    loaded = load({"BRIDGE_SINK": "my-store", "BRIDGE_MY_STORE_SIZE": "3", "BRIDGE_MY_STORE_ANYTHING": "x"})
    (_, opened) = loaded.sinks["my-store"]
    assert {
        "password": SecretStr(""),
        "pin": SecretStr(""),
        "api_key": "",
        "size": 3,
        "keep": None,
        "anything": "x",
    } == dict(opened)
    assert {} == loaded.unknown


@pytest.mark.usefixtures("third_party")
def test_a_sink_that_keeps_no_order_is_refused_where_one_is_promised() -> None:
    """Shards promise an order as far as the stream, which a sink that says nothing of it does not know."""
    loaded = load({"BRIDGE_SINK": "my-store", "BRIDGE_SHARDS": "2"})
    with pytest.raises(SettingsError, match="sink 'my-store' does not keep an order"):
        loaded.make_sinks(ordered=True)


@pytest.mark.usefixtures("third_party")
def test_a_third_party_says_what_the_absence_of_a_value_is_called() -> None:
    """Where settings are listed, and where the values of a run are shown."""
    (keep,) = (each for each in of_sink("my-store") if each.variable == "BRIDGE_MY_STORE_KEEP")
    assert keep.default == "the store's"
    assert load({"BRIDGE_SINK": "my-store"}).effective()["BRIDGE_MY_STORE_KEEP"] == "for ever"


@pytest.mark.usefixtures("third_party")
def test_a_third_partys_secrets_are_hidden() -> None:
    """By their type, or by their name."""
    secrets = {f"BRIDGE_MY_STORE_{name}": "sesame" for name in ("PASSWORD", "API_KEY", "PIN")}
    variables = {"BRIDGE_SINK": "my-store"} | secrets
    shown = load(variables).effective()
    assert dict.fromkeys(secrets, "**") == {name: shown[name] for name in secrets}
    assert "sesame" not in error(**variables, BRIDGE_MY_STORE_SIZE="x")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "sentinel", "redis+socket"])
@pytest.mark.parametrize("client", ["redis", "hiredis"])
def test_a_broker_whose_client_is_missing(monkeypatch: pytest.MonkeyPatch, scheme: str, client: str) -> None:
    """The line says by which setting it was asked for, and what to install: the extra, or what is in it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == client else found(name))
    monkeypatch.delitem(sys.modules, "celery_event_bridge.brokers.redis.plugin", raising=False)
    for variable in ("BRIDGE_BROKER_URL", "CELERY_BROKER_URL"):
        (line,) = error(**{variable: f"{scheme}://:sesame@h"}).splitlines()
        assert line.startswith(f"{variable}: {scheme}:// needs the package {client!r}, which is not installed: ")
        assert "the extra [redis] has it, or pip install 'redis>=" in line
        assert "sesame" not in line


def test_a_mongodb_without_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise, once it is to be used."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pymongo" else found(name))
    (line,) = error(BRIDGE_BROKER_URL="mongodb://:sesame@h").splitlines()
    assert line.startswith("BRIDGE_BROKER_URL: mongodb:// needs the package 'pymongo', which is not installed: ")
    assert "the extra [mongodb] has it, or pip install 'pymongo>=4.9'" in line
    assert "sesame" not in line


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("sink", "text"),
    [
        ("lacking", "BRIDGE_SINK=lacking: the package 'no_such_library' is not installed: install it"),
        ("redis", "is not installed: the extra [redis] has it, or pip install 'redis>="),
        ("nothing", "BRIDGE_SINK=nothing: no such sink; there are lacking, my-store, redis"),
    ],
)
def test_a_sink_that_cannot_be_had(sink: str, text: str) -> None:
    """The line says what to install, or what there is."""
    assert text in error(BRIDGE_SINK=sink)
