"""A reader belongs to the process that opened it: its copy in a child that was forked is refused.

Both would read the same, on one connection, and take each other's replies; what either commits the other knows nothing
of. Nothing of the client is touched in the child, for ending it would end the parent's, or wait for threads that are
not there.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from celery_event_bridge.contract import Reader


class Forked(RuntimeError):
    """A reader that was opened before a fork is used in the child. The text says what to do."""


class OneProcess:
    """Knows whether it is in the process that made it. Asking costs nothing: a fork tells it."""

    def __init__(self, reader: Reader, forget: Callable[[], None]) -> None:
        self._pid = os.getpid()
        self._reader = reader
        self._forget = weakref.WeakMethod(forget)
        self.copied = False
        """True if this is the copy in a child."""
        _all.add(self)

    def refuse_a_copy(self) -> None:
        """Raise Forked in a child."""
        if self.copied:
            raise Forked(
                f"this reader was opened in process {self._pid}, before a fork, and is that process's: both would read "
                "the same on one connection; call open_reader in each process"
            )

    def in_child(self) -> None:
        """Forget what was fetched: the parent hands it out."""
        self.copied = True
        _left_alone.append(self._reader)
        if (forget := self._forget()) is not None:
            forget()


_all: weakref.WeakSet[OneProcess] = weakref.WeakSet()
_left_alone: list[Reader] = []
"""The parent's readers, in a child: kept, since a client may end its connection when it is let go."""


def _in_child() -> None:
    for one in list(_all):
        one.in_child()
    _all.clear()


os.register_at_fork(after_in_child=_in_child)
