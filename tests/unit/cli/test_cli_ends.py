"""How a command ends: one line and an exit code, whatever fails, interrupts or stops reading."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from celery_event_bridge import cli
from celery_event_bridge.config.loading import SettingsError
from tests.support.commands import invoke


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


def test_a_fault_of_ours_says_what_it_is_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyError's own text is its key: `celery-event-bridge: 3` was all that a bridge left behind."""
    monkeypatch.delenv("BRIDGE_LOG_LEVEL", raising=False)
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: raising(KeyError(3)))
    code, text = invoke("run")
    assert code == 1
    assert text.startswith("celery-event-bridge: unexpected KeyError: 3 (")
    assert "test_cli_ends.py:" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("BRIDGE_X=1: wrong"), 2, "celery-event-bridge: BRIDGE_X=1: wrong"),
        (RuntimeError("amqp://u:secret@h is away"), 1, "celery-event-bridge: amqp://u:**@h is away"),
        (OSError(), 1, "celery-event-bridge: OSError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str) -> None:
    """Never a traceback, never a secret; the exit code tells wrong settings from failures."""
    monkeypatch.delenv("BRIDGE_LOG_LEVEL", raising=False)
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: raising(error))
    found, text = invoke("run")
    assert (code, line) == (found, text.strip())


@pytest.mark.parametrize(
    "moment", ["celery_event_bridge.cli.LazyGroup.get_command", "celery_event_bridge.cli.exit_code_of"]
)
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
        cli.exit_code_of(["run"])
    monkeypatch.delenv("BRIDGE_LOG_LEVEL")
    assert cli.is_debugging(["run", "--log-level", "debug"])
    assert cli.is_debugging(["run", "--log-level=DEBUG"])
    assert not cli.is_debugging(["run", "--log-level"])


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
    done = ended("run", BRIDGE_PREFETCH="x", BRIDGE_SHARDS="0")
    assert (2, "") == (done.returncode, done.stdout)
    assert [
        "celery-event-bridge: BRIDGE_PREFETCH=x: expected a whole number",
        "celery-event-bridge: BRIDGE_SHARDS=0: expected at least 1",
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
    monkeypatch.setattr(cli, "reader_has_gone", lambda: False)
    assert 1 == invoke("run")[0]
    monkeypatch.setattr(cli, "reader_has_gone", lambda: True)
    assert 0 == invoke("run")[0]


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, returned: int | None, code: int
) -> None:
    """0 for done, 1 for what `check` finds wrong."""
    monkeypatch.setattr(cli.cli, "get_command", lambda ctx, name: click.Command(name, callback=lambda: returned))
    assert (code, "") == invoke("check")


def test_a_failure_in_several_lines_has_the_name_on_each() -> None:
    """So that a log collector knows whose they are."""
    code, text = invoke("run", "--prefetch", "x", "--queue-type", "y")
    assert (2, 2) == (code, len(text.splitlines()))
    assert all(line.startswith("celery-event-bridge: BRIDGE_") for line in text.splitlines())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(shell: str) -> None:
    """Each shell's script is printed, and what it asks for are the commands that begin so."""
    script = ended(_CELERY_EVENT_BRIDGE_COMPLETE=f"{shell}_source")
    assert (0, True) == (script.returncode, "_CELERY_EVENT_BRIDGE_COMPLETE=" in script.stdout)
    words = {"COMP_WORDS": "celery-event-bridge ta", "COMP_CWORD": "ta" if shell == "fish" else "1"}
    found = ended(_CELERY_EVENT_BRIDGE_COMPLETE=f"{shell}_complete", **words)
    assert all(name in found.stdout for name in ("tail", "tap"))
    assert "replay" not in found.stdout
