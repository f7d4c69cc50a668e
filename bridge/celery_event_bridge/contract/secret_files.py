"""Secrets that were read from a file, so that they can be read again: who rotates a password replaces the file.

Whoever loads settings remembers each value with its path here; whoever logs in with the value asks for a fresh one
after the server has refused it. A secret is known by its value, since settings carry values, and a URL may be taken
apart and put together. What is read again is judged as it was at the start: it is never in use unless it is valid.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from celery_event_bridge.contract import bounded_file, notices

Origin = tuple[str, ...]
"""The variable and the path of a file, or the value that it was made of."""
Judge = Callable[[str], str]
"""Returns what a text is instead of a valid value, as `no valid URL: the port is ...`; empty for a valid one."""
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


class _Source(Protocol):
    """A way to come by a value again."""

    def read(self, value: str) -> str | None:
        """Return what is in the place of `value` now; None where that cannot be used."""

    def named(self, variable: str) -> str:
        """Return the name under which the value was set, where `variable` is the setting that it is in."""


class _File:
    """A file that holds a secret, and why what it holds now cannot be used, if so. Told once, until it is over."""

    def __init__(self, path: str, variable: str, judge: Judge | None) -> None:
        self._path = path
        self._variable = variable
        self._judge = judge
        self._trouble = ""
        self._judged = ("", "")
        """The last text that was judged, and what was said of it: to judge may take a client of a broker's."""

    def read(self, value: str) -> str | None:
        """Return what it holds now; None where that cannot be used, which is told."""
        try:
            found = content(self._path, again=True)
        except UnicodeDecodeError:
            self._unusable("holds no UTF-8 text")
            return None
        except (OSError, ValueError) as exc:
            pipe = getattr(exc, "errno", None) == errno.ESPIPE
            why = getattr(exc, "strerror", None) or "it is no path"
            until = ": put a file in its place, or restart once a new one is set" if pipe else " until it can be"
            self._unusable(f"cannot be read again: {why}", until)
            return None
        if found != value and (instead := self._instead(found)):
            self._unusable(f"holds {instead}")
            return None
        self._trouble = ""
        notices.over("secret-file", f"{self._where} can be read again", subject=self._subject)
        return found

    def named(self, variable: str) -> str:
        """Return the name with `_FILE`, and the trouble with it."""
        return f"{variable}_FILE" + (f" (which {self._trouble})" if self._trouble else "")

    @property
    def _subject(self) -> str:
        return f"{self._variable} {self._path}"

    @property
    def _where(self) -> str:
        return f"{self._variable}_FILE={self._path}" if self._variable else self._path

    def _instead(self, text: str) -> str:
        if not text.strip():  # as in the midst of a rotation
            return "nothing"
        if self._judge is None:
            return ""
        if text != self._judged[0]:
            self._judged = (text, self._judge(text))
        return self._judged[1]

    def _unusable(self, why: str, until: str = "") -> None:
        # Another reason is another matter, however soon it comes.
        every = 0.0 if self._trouble not in ("", why) else A_DAY
        self._trouble = why
        text = f"{self._where} {why}; the old one stays in use{until}"
        notices.tell("secret-file", text, subject=self._subject, every=every)


class _Made:
    """Another value, of which this one was made."""

    def __init__(self, secrets: SecretFiles, origin: str, how: Callable[[str], str]) -> None:
        self._secrets = secrets
        self._origin = origin
        self._how = how

    def read(self, value: str) -> str | None:  # noqa: ARG002
        """Make it again."""
        return self._how(self._secrets.fresh(self._origin))

    def named(self, variable: str) -> str:
        """Return that of the other value."""
        return self._secrets.named(self._origin, variable)


class SecretFiles:
    """Remembers how each value was come by. Safe to use from several threads; no value is ever shown."""

    def __init__(self) -> None:
        self._reads: dict[str, dict[Origin, _Source]] = {}
        self._set_by: dict[str, str] = {}
        """Values that stand in no variable of their setting's name, nor in a file: by which one they were set."""
        self._lock = threading.Lock()
        self._asked = threading.local()
        """Values that this thread asks for now: a password that was rolled back may be made of itself."""

    def remember(self, value: str, path: str | Path, variable: str = "", judge: Judge | None = None) -> None:
        """Remember that the value is the content of this file, and of which variable: two may have the same value.

        `judge` says of another content whether it may be used.
        """
        self._remember(value, (variable, str(path)), _File(str(path), variable, judge))

    def derive(self, value: str, origin: str, how: Callable[[str], str]) -> None:
        """Remember that the value was made of another one; `how` makes it again of a fresh one. Ignored if that one
        came from no file.
        """
        if value != origin and self.knows(origin):
            self._remember(value, (origin,), _Made(self, origin, how))

    def set_by(self, value: str, variable: str | None) -> None:
        """Remember that the value was set by a variable of another name than its setting's; None for its own."""
        with self._lock:
            self._set_by.pop(value, None)
            if variable is not None:
                self._set_by[value] = variable
            if len(self._set_by) > MOST:
                del self._set_by[next(iter(self._set_by))]

    def knows(self, value: str) -> bool:
        """Return whether the value came from a file."""
        with self._lock:
            return value in self._reads

    def named(self, value: str, variable: str) -> str:
        """Return the variable by which the value of this setting was set: `X_FILE` if it came from a file, together
        with why what the file holds now cannot be used, if so.
        """
        asked = self._asked.__dict__.setdefault("named", set())
        with self._lock:
            reads = dict(self._reads.get(value, {}))
            set_by = self._set_by.get(value, variable)
        if value in asked or not reads:
            return set_by
        asked.add(value)
        try:
            return next((read.named(variable) for origin, read in reads.items() if _of(origin, variable)), set_by)
        finally:
            asked.discard(value)

    def fresh(self, value: str, variable: str = "") -> str:
        """Return what the value's file holds now, or the value where it came from none, or where what the file holds
        cannot be used, which is told.

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

    def clear(self) -> None:
        """Forget everything, as a test does before it begins."""
        with self._lock:
            self._reads.clear()
            self._set_by.clear()

    def _found(self, value: str, variable: str, reads: Mapping[Origin, _Source]) -> str:
        news: list[str] = []
        of_itself = False
        for origin, read in reads.items():
            if variable and origin[0] not in (variable, ""):
                continue
            try:
                found = read.read(value)
            except _MadeOfItself:
                of_itself = True
                continue
            if found == value:
                return value
            if found is not None:
                self._remember(found, origin, read)
                news.append(found)
        if of_itself and not news:
            raise _MadeOfItself
        return news[0] if news else value

    def _remember(self, value: str, origin: Origin, read: _Source) -> None:
        with self._lock:
            reads = self._reads.pop(value, {})
            self._reads[value] = {**reads, origin: read}
            if len(self._reads) > MOST:
                del self._reads[next(iter(self._reads))]


def _of(origin: Origin, variable: str) -> bool:
    """Return whether the value of this setting may have come from there: what was made of another one is of any."""
    return len(origin) == 1 or origin[0] in (variable, "")


SECRET_FILES = SecretFiles()
"""The ones of this process."""
remember = SECRET_FILES.remember
derive = SECRET_FILES.derive
set_by = SECRET_FILES.set_by
named = SECRET_FILES.named
fresh = SECRET_FILES.fresh
