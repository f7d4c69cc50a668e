"""The command line: help that costs nothing, errors of one line, options for every setting."""

from __future__ import annotations

import json
import os
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
from celery_event_bridge.config.loading import SettingsError
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.testing import MemorySink

IMPORTED = """
import json, sys
from celery_event_bridge.cli import _main
_main({})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of whoever runs the tests says."""
    for name in list(os.environ):
        if name.startswith(("BRIDGE_", "CELERY_")):
            monkeypatch.delenv(name)


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and both outputs of a command in this process."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        code = cli._main(list(arguments))
        return code, out.getvalue().decode() + err.getvalue().decode()


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
    """As it can be seen of one that no version serves yet."""
    assert (2, "celery-event-bridge: BRIDGE_ORDERED=true: not available yet\n") == invoke("settings", "--ordered")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run", "--quue", "x"], "--queue"),
        (["run", "--sqlite-path"], "requires an argument"),
        (["run", "--redis-password", "x"], "set BRIDGE_REDIS_PASSWORD or BRIDGE_REDIS_PASSWORD_FILE"),
        (["run", "stray"], "unexpected argument 'stray'"),
        (["rnu"], "No such command"),
        (["run", "--sqlite-paht", "x"], "did you mean BRIDGE_SQLITE_PATH?"),
        (["run", "--prefetch", "x"], "BRIDGE_PREFETCH=x: expected a whole number"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], wanted: str) -> None:
    """One line says what is wrong."""
    code, text = invoke(*arguments)
    assert (2, 1) == (code, len(text.splitlines()))
    assert wanted in text
    assert text.startswith("celery-event-bridge")


def test_options_of_sinks_are_settings_too() -> None:
    """`--sqlite-path x` and `--sqlite-path=x` are BRIDGE_SQLITE_PATH=x."""

    @click.command(cls=options.SettingsCommand)
    @click.pass_context
    def show(ctx: click.Context) -> None:
        click.echo(options.loaded(ctx).effective()["BRIDGE_SQLITE_PATH"])

    for arguments in (["--sqlite-path", "/x.db"], ["--sqlite-path=/x.db", "--prefetch", "3"]):
        assert "/x.db\n" == CliRunner().invoke(show, arguments).output


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("BRIDGE_X=1: wrong"), 2, "celery-event-bridge: BRIDGE_X=1: wrong"),
        (RuntimeError("amqp://u:secret@h is away"), 1, "celery-event-bridge: amqp://u:**@h is away"),
        (KeyError(), 1, "celery-event-bridge: KeyError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str) -> None:
    """Never a traceback, never a secret; the exit code tells wrong settings from failures."""
    monkeypatch.delenv("BRIDGE_LOG_LEVEL", raising=False)
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: raising(error))
    found, text = invoke("run")
    assert (code, line) == (found, text.strip())


@pytest.mark.parametrize("moment", ["celery_event_bridge.cli.LazyGroup.get_command", "celery_event_bridge.cli._main"])
def test_an_interrupt_at_any_moment_is_no_traceback(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a command is imported, or after it has ended: exit code 130, and no word."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupted)
    monkeypatch.setattr(cli, "ending", lambda: None)  # which would be the end of Ctrl-C for these tests
    with CliRunner().isolation() as (out, err, _), pytest.raises(SystemExit) as ended:
        cli.main(["tail"])
    assert (130, b"", b"") == (ended.value.code, out.getvalue(), err.getvalue().strip())


def test_an_interrupt_in_a_destructor_is_not_lost() -> None:
    """Nor shown: Python can do no more than report it, so it is sent again."""
    program = """
import os, select, signal
from celery_event_bridge.process import early

class Unlucky:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

early.end_at_once()
early.as_usual()
try:
    Unlucky()
    select.select([], [], [], 10)
except KeyboardInterrupt:
    os._exit(130)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (130, "", "") == (done.returncode, done.stdout, done.stderr)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who ask for it, by option or by variable."""
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: raising(RuntimeError("why")))
    monkeypatch.setenv("BRIDGE_LOG_LEVEL", "debug")
    with pytest.raises(RuntimeError, match="why"):
        cli._main(["run"])
    monkeypatch.delenv("BRIDGE_LOG_LEVEL")
    assert cli._debugging(["run", "--log-level", "debug"])
    assert cli._debugging(["run", "--log-level=DEBUG"])
    assert not cli._debugging(["run", "--log-level"])


def test_python_m_bridge_is_the_same_command() -> None:
    """Both names lead to the same help."""
    done = subprocess.run(
        [sys.executable, "-m", "celery_event_bridge", "--help"], capture_output=True, text=True, timeout=120
    )
    assert (0, invoke("--help")[1]) == (done.returncode, done.stdout)


def ended(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m celery_event_bridge` in a process of its own, with none of the caller's settings."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("BRIDGE_", "CELERY_"))}
    return subprocess.run(
        [sys.executable, "-m", "celery_event_bridge", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        env=clean | variables,
    )


def test_a_process_says_wrong_settings_with_its_exit_code() -> None:
    """2, a line on standard error, nothing on standard output."""
    done = ended("run", BRIDGE_PREFETCH="x", BRIDGE_SHARDS="2")
    assert (2, "") == (done.returncode, done.stdout)
    assert [
        "celery-event-bridge: BRIDGE_PREFETCH=x: expected a whole number",
        "celery-event-bridge: BRIDGE_SHARDS=2: not available yet",
    ] == done.stderr.splitlines()


def test_a_process_that_fails_says_one_line() -> None:
    """An address that cannot be had is exit code 1 and a line that names the setting; debug shows where it was."""
    arguments = ("run", "--sink", "stdout", "--http", "192.0.2.1:1", "--log-format", "json")
    done = ended(*arguments)
    (line,) = done.stderr.splitlines()
    assert (1, True) == (done.returncode, line.startswith("celery-event-bridge: BRIDGE_HTTP=192.0.2.1:1: "))
    done = ended(*arguments, "--log-level", "debug")
    assert (1, True) == (done.returncode, "Traceback (most recent call last)" in done.stderr)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_a_reader_that_has_gone_is_no_failure(arguments: tuple[str, ...]) -> None:
    """`celery-event-bridge run --help | head -1` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "celery_event_bridge", *arguments],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=180,
        )
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        "tail --from sqlite:///none.db",
        "audit --from sqlite:///none.db",
        "rejected show --body",
        "rejected show",
        "rejected list",
    ],
)
def test_a_standard_output_that_is_closed_is_said_so(command: str) -> None:
    """One line and exit code 1, before the stream or the broker is looked for."""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "celery_event_bridge"]
    done = subprocess.run([*shell, *command.split()], stderr=subprocess.PIPE, text=True, timeout=120)
    assert 1 == done.returncode
    line = "celery-event-bridge: standard output is closed, and what this command finds goes there"
    assert [line] == done.stderr.splitlines()


def test_a_pipe_that_breaks_elsewhere_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only standard output's reader may go away; a lost connection is not taken for it."""
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: raising(BrokenPipeError(32, "Broken pipe")))
    monkeypatch.setattr(cli, "_reader_has_gone", lambda: False)
    assert 1 == invoke("run")[0]
    monkeypatch.setattr(cli, "_reader_has_gone", lambda: True)
    assert 0 == invoke("run")[0]


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, returned: int | None, code: int
) -> None:
    """0 for done, 1 for what `check` finds wrong."""
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: click.Command(name, callback=lambda: returned))
    assert (code, "") == invoke("check")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--redis-password", "BRIDGE_REDIS_PASSWORD"),
        ("--sqlite-secret", "BRIDGE_SQLITE_SECRET"),
        ("--token", "BRIDGE_TOKEN"),
    ],
)
@pytest.mark.parametrize("form", ["{} sesame", "{}=sesame"])
def test_secrets_are_no_options(option: str, name: str, form: str) -> None:
    """Everybody on the machine could read them; the line says where they go, and not what was given."""
    code, text = invoke("run", "--prefetch", "0", *form.format(option).split(" "))
    assert (2, True) == (code, f"{option}: secrets are no options; set {name} or {name}_FILE" in text)
    assert "sesame" not in text


@pytest.mark.parametrize(
    "url", ["amqp://u:sesame@h//", "amqp:/u:sesame@h//", "u:sesame@h:5672", "amqp:/u:two sesame@h"]
)
@pytest.mark.parametrize("arguments", [[], ["check"], ["run", "--broker"], ["tail", "--since"]])
def test_a_url_in_the_wrong_place_is_not_repeated_with_its_password(arguments: list[str], url: str) -> None:
    """Output of a container is kept, and read by others."""
    code, text = invoke(*arguments, url)
    assert (2, False) == (code, "sesame" in text)


MISTYPED = [
    "redis:/u:sesame@h/0",
    "redis:u:sesame@h/0",
    "u:sesame@h:6379",
    "redis:/:ses/sesame@h/0",
    "redis//u:sesame@h",
]


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(
    "arguments",
    [["tail", "--from"], ["audit", "--from"], ["replay", "--to", "sqlite:///x.db", "--from"], ["replay", "--to"]],
)
def test_a_stream_whose_slashes_are_mistyped_is_named_without_its_password(arguments: list[str], url: str) -> None:
    """What is before the last @ is hidden, and the line says what a URL looks like."""
    code, text = invoke(*arguments, url)
    assert (2, False) == (code, "sesame" in text)
    assert f"**@{url.rpartition('@')[2]}: expected kafka://host:9092/topic" in text


@pytest.mark.parametrize("command", [["audit"], ["replay", "--to", "amqp://h//"]])
@pytest.mark.parametrize(
    ("since", "until"), [("1h", "2h"), ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"), ("2030-01-31T12:00:00Z", "1h")]
)
def test_a_period_that_ends_before_it_begins_is_wrong_usage(command: list[str], since: str, until: str) -> None:
    """Nothing is in it: who asks for it has mixed up the two."""
    code, text = invoke(*command, "--since", since, "--until", until)
    assert (2, True) == (code, f"--since {since} is not before --until {until}" in text)


@pytest.mark.parametrize("host", ["[::1", "h\u2100"])
@pytest.mark.parametrize(
    "arguments",
    [["tail", "--from"], ["audit", "--from"], ["replay", "--to", "sqlite:///x.db", "--from"], ["replay", "--to"]],
)
def test_a_url_whose_host_is_none_is_wrong_usage(arguments: list[str], host: str) -> None:
    """One line with the option and the URL, without its password, and exit code 2."""
    code, text = invoke(*arguments, f"redis://u:sesame@{host}/0")
    assert 2 == code
    (line,) = text.splitlines()
    assert line.startswith(f"celery-event-bridge: {arguments[-1]} redis://u:**@{host}/0: not a URL: ")


@pytest.mark.parametrize("host", ["[::1", "h\u2100"])
@pytest.mark.parametrize(
    ("arguments", "name"), [(["replay", "--to"], "--to "), (["check", "--broker-url"], "BRIDGE_BROKER_URL=")]
)
def test_a_broker_whose_host_is_none_is_wrong_usage(arguments: list[str], name: str, host: str) -> None:
    """As a stream's."""
    code, text = invoke(*arguments, f"AMQP://u:sesame@{host}//")
    assert 2 == code
    (line,) = text.splitlines()
    assert line.startswith(f"celery-event-bridge: {name}AMQP://u:**@{host}//: not a URL: ")


@pytest.mark.parametrize("option", ["--broker-url", "--redis-url"])
@pytest.mark.parametrize("url", [*MISTYPED, "redis:///u:sesame@h:x/0"])
def test_a_setting_whose_slashes_are_mistyped_is_named_without_its_password(option: str, url: str) -> None:
    """The broker's and a sink's, for `run` and for who reads the stream."""
    for command in ("check", "tail"):
        given = ["--sink", "redis", option, url.replace("redis", "amqp" if option == "--broker-url" else "redis")]
        code, text = invoke(command, *given, "--prefetch", "0")
        assert (2, False) == (code, "sesame" in text)


def test_a_broker_to_replay_to_is_named_without_its_password() -> None:
    """Also where its slashes are mistyped."""
    code, text = invoke("replay", "--to", "amqp:/u:sesame@h/0")
    assert (2, True, False) == (code, "--to **@h/0: " in text, "sesame" in text)


@pytest.mark.parametrize(
    ("option", "near"), [("--quue", "--queue"), ("--brokerurl", "--broker-url"), ("--log-levle", "--log-level")]
)
def test_an_option_mistyped_is_answered_with_the_nearest(option: str, near: str) -> None:
    """One of the core's."""
    code, text = invoke("run", option, "x")
    assert (2, True) == (code, near in text.splitlines()[-1])


def test_an_option_without_its_value_is_wrong_usage() -> None:
    """The core's and a sink's alike."""
    for option in ("--queue", "--sqlite-path"):
        code, text = invoke("run", option)
        assert (2, True) == (code, f"'{option}' requires an argument" in text)


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


def test_a_failure_in_several_lines_has_the_name_on_each() -> None:
    """So that a log collector knows whose they are."""
    code, text = invoke("run", "--prefetch", "x", "--queue-type", "y")
    assert (2, 2) == (code, len(text.splitlines()))
    assert all(line.startswith("celery-event-bridge: BRIDGE_") for line in text.splitlines())


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
