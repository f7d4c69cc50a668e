"""The bridge's queue on the transport `filesystem`, where a message is a file, and nothing in hand is lost.

Kombu removes a file when it is received. Here it is moved, in one step, into a folder of this replica's, which is
locked while the replica lives, and removed when it is acknowledged. What a replica leaves behind that was killed, the
others find by its lock, which the kernel has released, and move back. Files are as kombu names and writes them.

    <data_folder_in>/<time>_<uuid>.<queue>.msg     waits
    <data_folder_in>/.<queue>/<replica>/lock       held by that replica
    <data_folder_in>/.<queue>/<replica>/*.msg      in its hand
    <data_folder_in>/.<queue>/tap-<name>/          the same of `tap`, whose queue `<queue>.tap-<name>` ends with it
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from celery_event_bridge.brokers.envelope import Heard, opened
from celery_event_bridge.brokers.kombu.connection import Link
from celery_event_bridge.brokers.kombu.files import names_in, require, try_lock, unavailable
from celery_event_bridge.brokers.kombu.queue import tell_of_gap
from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from celery_event_bridge.brokers.kombu.settings import Settings

HALF_WRITTEN = 5.0
"""Seconds for its writer to finish a file, which kombu's readers do not wait for."""
SHORTEST_PAUSE = 0.02
MOST_RETURNED = 10_000
"""Names that are remembered of what has been received before."""
TRIALS = 100
LOCK = "lock"
TAP = "tap-"
"""Beginning of the name of a folder of `tap`."""


class FolderQueue:
    """See the protocol `celery_event_bridge.brokers.kombu.queue.Queue`; a message is known by its file's name."""

    def __init__(
        self,
        settings: Settings,
        location: Callable[[], str] = str,
        tap: str = "",
        half_written: float = HALF_WRITTEN,
    ) -> None:
        """Begin. `location` names the stream, for others to see; `tap` is the name of a queue that ends with us.

        A file that is not written to its end counts as it is after `half_written` seconds.
        """
        self._half_written = half_written
        self._settings = settings
        self._location = location
        self._name = tap_queue(settings, tap) if tap else settings.queue
        self._is_tap = bool(tap)
        self._folder = settings.folder_in
        self._root = root_of(settings)
        self._own = self._root / (tap or uuid.uuid4().hex)
        self._lock: int | None = None
        self._link: Link | None = None
        self._listed: deque[str] = deque()
        """Names of files that wait, by the last look."""
        self._unfinished: dict[str, float] = {}
        """Names of files in our folder that are not written to their end, with the time until which they may be."""
        self._returned: set[str] = set()
        self._left: set[str] = set()
        """Names of files that cannot be read, as their owner alone may, or that are none."""
        self.pause = SHORTEST_PAUSE

    def open(self) -> None:
        """Connect, bind, take a folder of our own, and move back what was left behind."""
        require(self._folder)
        self._link = Link(self._settings)
        with unavailable(self._root):
            self._lock = self._locked_folder()
            with suppress(SinkUnavailable):
                os.write(self._lock, self._location().encode())
        self._link.declare(self._name)
        self._recover()

    def take(self, lane: object, tag: int, most: int, most_bytes: int) -> Sequence[tuple[str, Heard]]:
        """Move files into our folder, and read them."""
        taken: list[tuple[str, Heard]] = []
        with unavailable(self._folder):
            if not self._listed:
                self._list()
            late = deque(self._unfinished)
            while (late or self._listed) and len(taken) < most and most_bytes > 0:
                name = late.popleft() if late else self._listed.popleft()
                if name not in self._unfinished and not self._move_in(name):
                    continue
                try:
                    payload = self._read(name)
                except OSError as exc:
                    self._leave(name, exc)
                    continue
                if payload is None:
                    continue
                self._unfinished.pop(name, None)
                heard = opened(payload, lane, tag + len(taken))
                if name in self._returned:
                    heard = msgspec.structs.replace(heard, redelivered=True)
                taken.append((name, heard))
                most_bytes -= len(heard.body)
        return taken

    def forget(self, known_by: str) -> None:
        """Remove the file."""
        with unavailable(self._own), suppress(FileNotFoundError):
            os.unlink(self._own / known_by)
        self._returned.discard(known_by)

    def put_back(self, known_by: str) -> None:
        """Move the file back, for whichever replica is the next to look."""
        with unavailable(self._folder):
            self._move_out(self._own, known_by)

    def size(self) -> int:
        """Count the files that wait."""
        with unavailable(self._folder):
            return len(names_in(self._folder, self._name))

    def look_after(self) -> None:
        """Bind the queue again, where that is gone, and move back what was left behind."""
        if self._link is None or not (self._own / LOCK).exists():
            raise BrokerUnavailable(
                f"{self._own} was removed by somebody, and with it what was in hand; another one is made"
            )
        if self._name not in self._link.bound():
            self._link.declare(self._name)
            tell_of_gap(self._settings)
        self._recover()

    def close(self) -> None:
        """Move back what is in our folder, and remove it."""
        with unavailable(self._own):
            self._give_up()
        self.drop()

    def drop(self) -> None:
        """Move back what can be; what cannot, whoever looks next does."""
        with suppress(OSError, BrokerUnavailable):
            self._give_up()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        self._listed.clear()
        self._unfinished.clear()
        if self._link is not None:
            self._link.close()
        self._link = None

    # Within --------------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        begun = time.monotonic()
        self._listed = deque(name for name in names_in(self._folder, self._name) if name not in self._left)
        # A folder with much else in it is looked at less often.
        self.pause = max(SHORTEST_PAUSE, 4 * (time.monotonic() - begun))

    def _move_in(self, name: str) -> bool:
        """Return whether the file is ours now: another replica may have been faster."""
        try:
            os.rename(self._folder / name, self._own / name)
        except FileNotFoundError:
            if not self._own.is_dir():
                raise
            return False
        return True

    def _leave(self, name: str, exc: OSError) -> None:
        """Move back what cannot be read, for good: what lies behind it is to go on."""
        os.rename(self._own / name, self._folder / name)  # which fails where our own folder is gone
        self._unfinished.pop(name, None)
        if len(self._left) < MOST_RETURNED:
            self._left.add(name)
        text = f"{self._folder / name} cannot be read, and is left alone: {exc.strerror or exc}"
        notices.tell("waiting", text, subject=name)

    def _move_out(self, folder: Path, name: str) -> None:
        os.rename(folder / name, self._folder / name)
        if len(self._returned) >= MOST_RETURNED:
            self._returned.clear()
        self._returned.add(name)

    def _read(self, name: str) -> bytes | None:
        """Return what is in the file; None while it is written: kombu makes it, and only then locks and fills it."""
        until = self._unfinished.setdefault(name, time.monotonic() + self._half_written)
        with (self._own / name).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            payload = file.read()
        try:
            msgspec.json.decode(payload, type=msgspec.Raw)
        except (ValueError, RecursionError):
            return payload if time.monotonic() >= until else None
        return payload

    def _locked_folder(self) -> int:
        """Make our folder, and return what locks it. Who looks for folders left behind may remove it meanwhile."""
        self._root.mkdir(mode=0o700, exist_ok=True)
        for _ in range(TRIALS):
            self._own.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                if (lock := try_lock(self._own / LOCK)) is not None:
                    return lock
            time.sleep(0.01)
        raise BrokerUnavailable(f"{self._own / LOCK} cannot be locked: does its file system have locks (flock)?")

    def _recover(self) -> None:
        """Move back what replicas have left behind that are no more."""
        with unavailable(self._root):
            for folder in [each for each in self._root.iterdir() if each != self._own and each.is_dir()]:
                with suppress(FileNotFoundError):  # another one was faster
                    if (lock := try_lock(folder / LOCK)) is not None:
                        try:
                            self._empty(folder, is_tap=folder.name.startswith(TAP))
                        finally:
                            os.close(lock)

    def _give_up(self) -> None:
        if self._lock is not None:
            self._empty(self._own, is_tap=self._is_tap)

    def _empty(self, folder: Path, *, is_tap: bool) -> None:
        for name in [name for name in os.listdir(folder) if name.endswith(".msg")]:
            if is_tap:
                (folder / name).unlink(missing_ok=True)
            else:
                self._move_out(folder, name)
        if is_tap and self._link is not None:
            self._link.delete(tap_queue(self._settings, folder.name))
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # something of somebody else's is in it
            folder.rmdir()


def root_of(settings: Settings) -> Path:
    """Return the folder that has one for each replica."""
    return settings.folder_in / f".{settings.queue}"


def tap_queue(settings: Settings, tap: str) -> str:
    """Return the name of the queue of a `tap`."""
    return f"{settings.queue}.{tap}"


def others(settings: Settings) -> list[str]:
    """Name the stream of each replica that is there now. Raises BrokerUnavailable."""
    root, found = root_of(settings), list[str]()
    with unavailable(root):
        for folder in root.iterdir() if root.is_dir() else ():
            if folder.name.startswith(TAP) or not (folder / LOCK).exists():
                continue
            with suppress(FileNotFoundError):
                if (lock := try_lock(folder / LOCK)) is not None:
                    os.close(lock)
                else:
                    found.append((folder / LOCK).read_text())
    return found
