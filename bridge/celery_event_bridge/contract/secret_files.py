"""Secrets that were read from a file, so that they can be read again: who rotates a password replaces the file.

Whoever loads settings remembers each value with its path here; whoever logs in with the value asks for a fresh one
after the server has refused it. A secret is known by its value, since settings carry values, and a URL may be taken
apart and put together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from celery_event_bridge.contract import bounded_file, notices

Read = Callable[[], str]
Origin = tuple[str, ...]
"""The variable and the path of a file, or the value that it was made of."""
FILE_AND_VARIABLE = 2
"""Parts of an origin that is a file."""
A_DAY = 86_400.0
MOST = 1000
"""Values remembered; past it the oldest is forgotten."""


def content(path: str | Path, *, again: bool = False) -> str:
    """Return the text of the file without its last line end. Raises OSError, UnicodeDecodeError.

    `again` for one that was read before: a pipe gave its content then, and would hold up whoever logs in.
    """
    text = bounded_file.read(path, may_be_pipe=not again).decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


class _MadeOfItself(Exception):
    """A value whose origin was made of it, as after a password was rolled back: that origin says nothing of it."""


class SecretFiles:
    """Remembers how each value was come by. Safe to use from several threads; no value is ever shown."""

    def __init__(self) -> None:
        self._reads: dict[str, dict[Origin, Read]] = {}
        self._lock = threading.Lock()
        self._asked = threading.local()
        """Values that this thread asks for now: a password that was rolled back may be made of itself."""

    def remember(self, value: str, path: str | Path, variable: str = "") -> None:
        """Remember that the value is the content of this file, and of which variable: two may have the same value."""
        self._remember(value, (variable, str(path)), lambda: content(path, again=True))

    def derive(self, value: str, origin: str, how: Callable[[str], str]) -> None:
        """Remember that the value was made of another one; `how` makes it again of a fresh one. Ignored if that one
        came from no file.
        """
        if value != origin and self.knows(origin):
            self._remember(value, (origin,), lambda: how(self.fresh(origin)))

    def knows(self, value: str) -> bool:
        """Return whether the value came from a file."""
        with self._lock:
            return value in self._reads

    def fresh(self, value: str, variable: str = "") -> str:
        """Return what the value's file holds now, or the value where it came from none, or where the file cannot be
        read or is empty, as in the midst of a rotation.

        For a variable its own file counts, or one of nobody's; of several, as long as one holds the value it stays.
        """
        asked = self._asked.__dict__.setdefault("values", set())
        if value in asked:
            raise _MadeOfItself
        with self._lock:
            reads = dict(self._reads.get(value, {}))
        asked.add(value)
        try:
            return self._found(value, variable, reads)
        except _MadeOfItself:
            if len(asked) > 1:
                raise
            return value
        finally:
            asked.discard(value)

    def _found(self, value: str, variable: str, reads: Mapping[Origin, Read]) -> str:
        news: list[str] = []
        of_itself = False
        for origin, read in reads.items():
            if variable and origin[0] not in (variable, ""):
                continue
            try:
                found = read()
            except _MadeOfItself:
                of_itself = True
                continue
            except (OSError, ValueError) as exc:
                _tell(origin, getattr(exc, "strerror", None) or "it is not UTF-8 text")
                continue
            _readable(origin)
            if found == value:
                return value
            if found.strip():
                self._remember(found, origin, read)
                news.append(found)
        if of_itself and not news:
            raise _MadeOfItself
        return news[0] if news else value

    def _remember(self, value: str, origin: Origin, read: Read) -> None:
        with self._lock:
            reads = self._reads.pop(value, {})
            self._reads[value] = {**reads, origin: read}
            if len(self._reads) > MOST:
                del self._reads[next(iter(self._reads))]


def _tell(origin: Origin, why: str) -> None:
    """Say once that a file cannot be read again. What was made of another value is passed over: its origin tells."""
    if len(origin) == FILE_AND_VARIABLE:
        variable, path = origin
        notices.tell(
            "secret-file",
            f"{variable}_FILE={path} cannot be read again: {why}; what it held at the start stays in use, and after a "
            "new password is set there a restart is needed",
            subject=f"{variable} {path}",
            every=A_DAY,
        )


def _readable(origin: Origin) -> None:
    if len(origin) == FILE_AND_VARIABLE:
        variable, path = origin
        notices.over("secret-file", f"{variable}_FILE={path} can be read again", subject=f"{variable} {path}")


SECRET_FILES = SecretFiles()
"""The ones of this process."""
remember = SECRET_FILES.remember
derive = SECRET_FILES.derive
fresh = SECRET_FILES.fresh
