"""Signals in the first moments: a stop ends the process at once, before anything large is imported.

Nothing is in hand yet. Without a handler a container's process 1 ignores SIGTERM, and anybody else shows a traceback on
Ctrl-C. What comes before Python runs this line is for an init to see to, as the image has one.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

NUMBERS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""In this order: whoever sees that SIGTERM is ours may send any of them."""


def end_at_once() -> None:
    """Let these signals end the process: `run`, which has nothing in hand, with 0, others as a shell says."""
    for number in NUMBERS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, _end)


def as_usual() -> None:
    """Let these signals do what they do in any Python program, where they were ours until now.

    A Ctrl-C that falls into a destructor or a weak reference's callback, as each import has one, would be shown with a
    traceback and lost: it is sent again.
    """
    for number in NUMBERS:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        if signal.getsignal(number) is _end:
            signal.signal(number, usual)
            sys.unraisablehook = _interrupt_again


def ending() -> None:
    """Let Ctrl-C do nothing from here on: not between a command and its exit, nor while the interpreter ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt_again(unraisable: UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    # From here it would be raised in here.
    again = Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
    again.daemon = True
    again.start()


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(0 if "run" in sys.argv[1:] else 128 + number)
