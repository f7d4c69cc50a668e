"""The command line: help that costs nothing, and options for every setting."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from celery_event_bridge import __version__, cli
from celery_event_bridge.brokers.rabbitmq import settings as rabbitmq
from celery_event_bridge.cli import options
from celery_event_bridge.cli.run import location
from celery_event_bridge.config import catalogue
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.testing import MemorySink
from tests.support.commands import invoke

IMPORTED = """
import json, sys
from celery_event_bridge.cli import exit_code_of
exit_code_of({})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    """The modules that a process has imported after running a command."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(list(arguments))], capture_output=True, text=True, timeout=120
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_imports_none_of_what_it_does_not_need() -> None:
    """Neither clients nor pydantic: `--help` is for people who wait."""
    assert not {"kombu", "amqp", "redis", "confluent_kafka", "pydantic", "celery"} & imported_by("--help")


def test_a_sink_that_is_not_selected_is_not_imported() -> None:
    """The settings of a run with SQLite are loaded without Redis's client, and nothing needs celery itself."""
    modules = imported_by("check", "--sink", "sqlite", "--prefetch", "0")
    assert "pydantic" in modules
    assert not {"redis", "confluent_kafka", "celery"} & modules


def test_help_lists_the_commands() -> None:
    """Each with a line, and the version is known."""
    code, text = invoke("--help")
    assert 0 == code
    assert [] == [name for name in cli.COMMANDS if f"  {name} " not in text]
    assert (0, f"celery-event-bridge, version {__version__}\n") == invoke("--version")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """The settings are listed by three of them, and the others say by which; their help fits a screen of 40 lines."""
    code, text = invoke(name, "--help")
    assert 0 == code
    assert "Example: " in text
    fields = {*Settings.model_fields, *rabbitmq.Settings.model_fields}
    listed = {field for field in fields if f"BRIDGE_{field.upper()}" in text}
    if name in ("run", "check", "settings"):
        assert fields == listed
        return
    assert 40 >= len(text.splitlines())
    if "COMMAND [ARGS]" not in text:
        assert "celery-event-bridge settings" in text
        assert not {"queue_ttl", "prefetch"} & listed


def test_the_catalogue_has_every_setting_once() -> None:
    """In one of its groups, with what it takes, its default and a meaning; and a sink's behind the core's."""
    groups = [*catalogue.GROUPS.values(), *rabbitmq.Settings.groups.values()]
    fields = [field for group in groups for field in group]
    assert sorted({*Settings.model_fields, *rabbitmq.Settings.model_fields}) == sorted(fields)
    known = {each.variable: each for each in catalogue.core()}
    assert len(known) == len(list(catalogue.core())), "though several brokers have it"
    assert ("SIZE", "4GiB") == (
        known["BRIDGE_OVERFLOW_MAX_BYTES"].kind,
        known["BRIDGE_OVERFLOW_MAX_BYTES"].default,
    )
    assert {
        "BRIDGE_BROKER_URL": "URL",
        "BRIDGE_BROKER_TLS_CA": "FILE",
        "BRIDGE_BROKER_TRANSPORT_OPTIONS": "JSON",
        "BRIDGE_HTTP": "HOST:PORT",
        "BRIDGE_LET_GO_AFTER": "SECONDS",
        "BRIDGE_QUEUE_TYPE": "quorum|classic",
        "BRIDGE_DECLARE": "true|false",
        "BRIDGE_SINK": "LIST",
    }.items() <= {name: each.kind for name, each in known.items()}.items()
    assert [] == [each.variable for each in known.values() if not each.meaning]
    assert "--sqlite-retention" in [each.option for each in catalogue.of_sink("sqlite")]


def test_settings_are_listed_with_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are now, beside their defaults, without secrets; those of other sinks too."""
    monkeypatch.setenv("BRIDGE_BROKER_URL", "amqp://u:sesame@h//")
    monkeypatch.setenv("BRIDGE_SINK", "kafka")
    monkeypatch.setenv("BRIDGE_KAFKA_LINGER_MS", "5")
    monkeypatch.setenv("BRIDGE_MAX_INFLIGHT_BYTES", "33554432")
    code, text = invoke("settings", "--queue-ttl", "7")
    assert (0, False) == (code, "sesame" in text)
    for line in (
        "  BRIDGE_BROKER_URL=amqp://u:**@h//  (default: CELERY_BROKER_URL, else amqp://guest:**@localhost:5672//)",
        "  BRIDGE_QUEUE_TTL=7  (default: 5)",
        "  BRIDGE_MAX_INFLIGHT_BYTES=32MiB  (default: 16MiB)",
        "  BRIDGE_KAFKA_LINGER_MS=5",
        "Sink redis, not selected",
        "Sink kafka",
    ):
        assert line in text.splitlines()
    code, text = invoke("settings", "--format", "json", "--queue-ttl", "7")
    found = {each["variable"]: each for each in json.loads(text)}
    assert ("7", "5", "--queue-ttl") == tuple(found["BRIDGE_QUEUE_TTL"][key] for key in ("value", "default", "option"))
    assert found["BRIDGE_REDIS_URL"]["value"] is None


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--no-declare"], "BRIDGE_DECLARE=false"),
        (["--declare"], "BRIDGE_DECLARE=true"),
        (["--declare", "false"], "BRIDGE_DECLARE=false"),
        (["--declare=no"], "BRIDGE_DECLARE=false"),
        (["--no-ordered"], "BRIDGE_ORDERED=false"),
    ],
)
def test_settings_of_yes_and_no_are_flags(arguments: list[str], shown: str) -> None:
    """With `--no-` before the name for no, or with a value as their variable has it."""
    code, text = invoke("settings", *arguments)
    assert (0, True) == (code, shown in [line.split("  (")[0].strip() for line in text.splitlines()])


def test_a_flag_alone_is_yes() -> None:
    """Without `--no-` before the name."""
    code, text = invoke("settings", "--ordered")
    assert (0, True) == (code, "BRIDGE_ORDERED=true" in [line.split("  (")[0].strip() for line in text.splitlines()])


def test_options_of_sinks_are_settings_too() -> None:
    """`--sqlite-path x` and `--sqlite-path=x` are BRIDGE_SQLITE_PATH=x."""

    @click.command(cls=options.SettingsCommand)
    @click.pass_context
    def show(ctx: click.Context) -> None:
        click.echo(options.loaded(ctx).effective()["BRIDGE_SQLITE_PATH"])

    for arguments in (["--sqlite-path", "/x.db"], ["--sqlite-path=/x.db", "--prefetch", "3"]):
        assert "/x.db\n" == CliRunner().invoke(show, arguments).output


def test_python_m_bridge_is_the_same_command() -> None:
    """Both names lead to the same help."""
    done = subprocess.run(
        [sys.executable, "-m", "celery_event_bridge", "--help"], capture_output=True, text=True, timeout=120
    )
    assert (0, invoke("--help")[1]) == (done.returncode, done.stdout)


def test_an_option_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink's and the core's; the last of two counts."""
    monkeypatch.setenv("BRIDGE_QUEUE", "variable")
    monkeypatch.setenv("BRIDGE_SQLITE_PATH", "/variable")

    @click.command(cls=options.SettingsCommand)
    @click.pass_context
    def show(ctx: click.Context) -> None:
        shown = options.loaded(ctx).effective()
        click.echo(f"{shown['BRIDGE_QUEUE']} {shown['BRIDGE_SQLITE_PATH']}")

    assert "variable /variable\n" == CliRunner().invoke(show, []).output
    given = ["--sqlite-path", "/first", "--queue=option", "--sqlite-path=/option"]
    assert "option /option\n" == CliRunner().invoke(show, given).output


def test_several_sinks_have_one_location_in_whatever_order() -> None:
    """Replicas that name the same sinks in another order store in the same streams; one that has fewer does not."""

    class Located(MemorySink):
        def __init__(self, where: str) -> None:
            super().__init__()
            self._where = where

        def location(self) -> str:
            return self._where

    sinks = [Located("redis a"), Located("kafka b"), MemorySink()]
    assert location(sinks) == location(sinks[::-1]) == "kafka b + memory + redis a"
    assert location(sinks[:1]) != location(sinks)
