"""Standard output, for the commands whose result it is: it may be closed, and its reader may go away."""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click


def standard_output() -> TextIO:
    """Fails where it is closed. To be asked for first: a file that is opened then would get its number."""
    if sys.stdout is None:
        raise click.ClickException("standard output is closed, and what this command finds goes there")
    return sys.stdout


def discard(output: TextIO) -> None:
    """Nobody reads it any more: what is left in its buffer must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
