"""The command line. Each command is imported when it is called, so that `--help` costs next to nothing."""

from __future__ import annotations

import importlib
import os
import select
import sys
import traceback
from collections.abc import Mapping
from typing import cast

import click

from celery_event_bridge.process.early import as_usual, ending
from celery_event_bridge.version import __version__

COMMANDS = {
    "audit": "Say what is missing, doubled or late in the stream.",
    "check": "Validate the settings, connect to both ends, say what is wrong.",
    "queues": "Declare the queues, look at them, migrate, remove them.",
    "rejected": "List, show, requeue, purge what could not be forwarded.",
    "replay": "Send stored events to a broker again, or into another stream.",
    "run": "Forward events until stopped.",
    "settings": "List every setting: its value, its default, its meaning.",
    "tail": "Print events from the stream.",
    "tap": "Print the live events, and take none away.",
}
"""Name, which is also the module's and the function's, and the line for `--help`."""
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
"""Errors that are raised for no user: whoever gets one has found a fault of ours."""
WHERE = 4
"""Frames of such an error that are named, the innermost last."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", getattr(importlib.import_module(f"celery_event_bridge.cli.{cmd_name}"), cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list for `--help`, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings come from BRIDGE_* variables; an option of the same name, after the command, wins. "
    "Example: BRIDGE_SINK=redis celery-event-bridge run",
)
@click.version_option(__version__, prog_name="celery-event-bridge")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Celery's events, off the broker and into a durable stream."""
    if ctx.invoked_subcommand != "run":  # which has imports to come, and takes the signals over when they are done
        as_usual()


def main(arguments: list[str] | None = None) -> None:
    """Run a command, as the console script, and exit with its code; an error is one line."""
    try:
        from celery_event_bridge.cli.output import make_safe

        make_safe()
        code = exit_code_of(arguments)
        ending()  # in here, so that no Ctrl-C falls between the two
    except KeyboardInterrupt:  # at any other moment, an import of a command's included
        ending()
        code = 130
    sys.exit(code)


def exit_code_of(arguments: list[str] | None) -> int:
    """Run a command, by default that of the process's arguments, and return its exit code; an error is one line."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(given, prog_name="celery-event-bridge", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show(sys.stderr)
        return exc.exit_code
    except click.ClickException as exc:
        click.echo(_harmless(_in_one_line(exc), given), err=True)  # a URL may be given in the wrong place
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit as exc:
        # So click ends a command that could not write, with 1 and without a word.
        return 0 if reader_has_gone() else int(exc.code or 0)
    except Exception as exc:  # noqa: BLE001 - the last resort: one line for the user
        return _failed(exc, given)
    return code if isinstance(code, int) else 0


def _in_one_line(exc: click.ClickException) -> str:
    message = " ".join(exc.format_message().split())
    context = getattr(exc, "ctx", None)
    if not isinstance(exc, click.UsageError) or context is None:
        return f"celery-event-bridge: {message}"
    ending = "" if message.endswith((".", "?")) else "."
    return f"{context.command_path}: {message}{ending} See {context.command_path} --help"


def reader_has_gone() -> bool:
    """Return whether nobody reads standard output any more, as where `head` has had enough."""
    if sys.stdout is None:  # closed from the beginning
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _failed(exc: Exception, arguments: list[str]) -> int:
    from celery_event_bridge.config.loading import SettingsError

    wrong_settings = isinstance(exc, SettingsError)
    if not wrong_settings and is_debugging(arguments):
        text = "".join(traceback.format_exception(exc))
        harmless = _harmless(text, arguments)
        if text == harmless:
            raise exc
        click.echo(harmless, err=True, nl=False)
        return 1
    text = _unexpected(exc) if isinstance(exc, FAULTS) else str(exc) or type(exc).__name__
    for line in _harmless(text, arguments).splitlines():
        click.echo(f"celery-event-bridge: {line}", err=True)
    return 2 if wrong_settings else 1


def _unexpected(exc: Exception) -> str:
    """Return what was raised and where: `3` alone, as of a KeyError, says nothing."""
    frames = traceback.extract_tb(exc.__traceback__)
    # pathlib would cost `--help` its import.
    where = ", ".join(f"{os.path.basename(one.filename)}:{one.lineno}" for one in frames[-WHERE:])  # noqa: PTH119
    return (
        f"unexpected {type(exc).__name__}: {exc} ({where}): a fault of this program; report it, with what "
        "--log-level debug shows"
    )


def _harmless(text: str, arguments: list[str]) -> str:
    """Return the message without what may be a secret in what was given, as an argument or by a variable."""
    from celery_event_bridge.contract.secrets import hide_of, hide_secrets

    for argument in arguments:
        given = argument.partition("=")[2] if argument.startswith("-") else argument
        text = hide_of(text, given) if given else text
    for name, value in _environment(arguments).items():
        if name.startswith("BRIDGE_") or name == "CELERY_BROKER_URL":
            text = hide_of(text, value, name)
    return hide_secrets(text)


def _environment(arguments: list[str]) -> Mapping[str, str]:
    """Return the variables, with what a file of settings says; without it where that cannot be read."""
    from celery_event_bridge.config.settings_file import CONFIG, with_file
    from celery_event_bridge.config.validation import SettingsError

    path = _option(arguments, "--config")
    try:
        return with_file(os.environ, {CONFIG: path} if path else {})[0]
    except SettingsError:
        return os.environ


def is_debugging(arguments: list[str]) -> bool:
    """Return whether tracebacks are to be shown: by an option, a variable or a file of settings."""
    given = _option(arguments, "--log-level") or _environment(arguments).get("BRIDGE_LOG_LEVEL", "")
    return given.lower() == "debug"


def _option(arguments: list[str], name: str) -> str:
    """Return the last value of an option, whatever command it is of; empty where it is not given."""
    given = ""
    for position, argument in enumerate(arguments):
        if argument == name and position + 1 < len(arguments):
            given = arguments[position + 1]
        elif argument.startswith(f"{name}="):
            given = argument.partition("=")[2]
    return given
