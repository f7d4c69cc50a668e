"""The command line: help that costs nothing, errors of one line, options for every setting."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from bridge import __version__, cli
from bridge.cli import options
from bridge.settings import Settings
from bridge.settings_source import SettingsError

IMPORTED = """
import json, sys
from bridge.cli import _main
_main({})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and both outputs of a command in this process."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        code = cli._main(list(arguments))
        return code, out.getvalue().decode() + err.getvalue().decode()


def imported_by(*arguments: str) -> set[str]:
    """The modules that a process has imported after running a command."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(list(arguments))], capture_output=True, text=True, timeout=30
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
    """It shows an option for each setting of the core."""
    code, text = invoke(name, "--help")
    assert 0 == code
    assert "Example: " in text
    assert [] == [field for field in Settings.model_fields if f"--{field.replace('_', '-')}" not in text]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run", "--quue", "x"], "--queue"),
        (["run", "--sqlite-path"], "requires an argument"),
        (["run", "--redis-password", "x"], "set BRIDGE_REDIS_PASSWORD or BRIDGE_REDIS_PASSWORD_FILE"),
        (["run", "stray"], "unexpected argument 'stray'"),
        (["rnu"], "No such command"),
        (["run", "--sqlite-paht", "x"], "did you mean BRIDGE_SQLITE_PATH?"),
        (["run", "--prefetch", "x"], "BRIDGE_PREFETCH=x: expected a valid integer"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], wanted: str) -> None:
    """The text says what is wrong; there is no traceback."""
    code, text = invoke(*arguments)
    assert 2 == code
    assert wanted in text
    assert "Traceback" not in text


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
    done = subprocess.run([sys.executable, "-m", "bridge", "--help"], capture_output=True, text=True, timeout=30)
    assert (0, invoke("--help")[1]) == (done.returncode, done.stdout)
