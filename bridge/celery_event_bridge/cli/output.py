"""Standard output and error: either may be closed, know no letters but ASCII, or lose its reader."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

import click


def make_safe() -> None:
    """See to it that nothing gets the number of a closed standard stream, and that any text can be written.

    What an encoding cannot have is escaped as JSON has it, so that JSON stays JSON.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    codecs.register_error("escape", _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="escape")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    units = text.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[n : n + 4]}" for n in range(0, len(units), 4)), error.end


def standard_output() -> TextIO:
    """Fails where it is closed. To be asked for first: a file that is opened then would get its number."""
    if sys.stdout is None:
        raise click.ClickException("standard output is closed, and what this command finds goes there")
    return sys.stdout


def discard(output: TextIO) -> None:
    """Nobody reads it any more: what is left in its buffer must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
