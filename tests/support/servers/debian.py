"""Programs from Debian's packages, installed on first use; child processes under a guardian; free ports."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from tests.support.servers import guardian
from tests.support.servers.fetching import ServerMissing, of_apt, telling

POLICY = Path("/usr/sbin/policy-rc.d")
ROOT = Path(__file__).parents[3]
INSTALLING = threading.Lock()
"""Servers are started side by side, packages are not installed so."""
PATIENCE = 4.0
"""How much longer than on an idle machine a thing may take: deadlines are for what never comes, and two whole runs at
a time make a machine that slow."""
DRAWING = random.SystemRandom()
PORTS = threading.Lock()
GIVEN: set[int] = set()
TAKEN = Path(tempfile.gettempdir(), f"celery-event-bridge-ports-{os.geteuid()}")
"""A byte a port, locked by the process that has drawn it. The file stays open: to close it would unlock them all."""
INSTALLS = Path(tempfile.gettempdir(), f"celery-event-bridge-packages-{os.geteuid()}")
"""Locked by the run that installs."""


def program(name: str, package: str) -> str:
    """The path of a program; its package is installed if it is not there."""
    with INSTALLING:
        if (found := _which(name)) is None:
            _install(package)
            found = _which(name)
    if found is None:
        raise ServerMissing(f"the Debian package {package} brings no {name}")
    return found


def library(name: str, package: str) -> Path:
    """The path of a shared library; its package is installed if it is not there."""
    with INSTALLING:
        for _ in range(2):
            if found := next(Path("/usr/lib").glob(f"*/{name}"), None):
                return found
            _install(package)
    raise ServerMissing(f"the Debian package {package} brings no {name}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now.

    Below those that the kernel gives to clients, which would take it while its server is started again. Each is
    given once, and to one process, as long as that lives: between the drawing and the listening, and while a server is
    killed and started again, nobody listens there. The drawing is the system's: hypothesis seeds `random` with the same
    number for each of its examples, and servers that start meanwhile would all draw the same port.
    """
    while True:
        port = DRAWING.randrange(10_000, 32_000)
        with PORTS:
            if port in GIVEN or not is_ours(port):
                continue
            GIVEN.add(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@cache
def _taken() -> int:
    return os.open(TAKEN, os.O_RDWR | os.O_CREAT, 0o600)


def is_ours(port: int) -> bool:
    """Whether no other process has drawn it."""
    try:
        fcntl.lockf(_taken(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def until(
    condition: Callable[[], object], timeout: float, what: str, *, pause: float = 0.05, patience: float = PATIENCE
) -> None:
    """Wait until `condition()` is true; an error while it is not yet counts as false.

    `timeout` is in seconds of a machine with nothing else to do. Raises TimeoutError, and ServerMissing at once.
    """
    deadline = time.monotonic() + timeout * patience
    error: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
            error = None
        except ServerMissing:
            raise
        except Exception as exc:  # noqa: BLE001 - a server that starts up refuses in many ways
            error = exc
        time.sleep(pause)
    raise TimeoutError(f"after {timeout * patience:g} s still not: {what}" + (f" ({error})" if error else ""))


class Child:
    """A server as a child process under a guardian of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._mark = uuid.uuid4().hex
        self.log = log
        with log.open("ab") as output:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__, self._mark, *command],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._guardian.poll() is None

    def pids(self, name: str = "") -> list[int]:
        """The ids of its processes, or of those whose executable's name contains `name`."""
        return [pid for pid in guardian.family(self._mark, self._guardian.pid) if name in _executable(pid)]

    def signal(self, number: signal.Signals, name: str) -> None:
        """Send a signal to its processes of that name."""
        for pid in self.pids(name):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """Kill all of it and wait until it is gone."""
        stdin: IO[bytes] | None = self._guardian.stdin
        if stdin is not None:
            stdin.close()
        self._guardian.wait(60)

    def tail(self) -> str:
        """The end of its log, and where the whole is kept: the folder of the server goes with it."""
        if not self.log.exists():
            return ""
        kept = Path(tempfile.gettempdir(), f"{self.log.parent.name}-{self.log.name}.log")
        shutil.copyfile(self.log, kept)
        return f"{self.log.read_text(errors='replace')[-500:].strip()} (the whole log is {kept})"


def _executable(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _which(name: str) -> str | None:
    if name.startswith("/"):
        return name if os.access(name, os.X_OK) else None
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin")


def _install(package: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (as_root and not _may_sudo()):
        raise ServerMissing(f"{package} is missing; as root: apt-get install {package}")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-o", "DPkg::Lock::Timeout=300"]
    with _no_other_run_installs(), _no_services_started(as_root):
        telling("looking for Debian's packages", [*apt, "update"], of_apt)
        install = [*apt, "install", "-y", "--no-install-recommends", package]
        telling(f"installing the Debian package {package}", install, of_apt)


@contextmanager
def _no_other_run_installs() -> Iterator[None]:
    """Of two runs of the tests at once one waits for the other: apt's own waiting does not cover its `update`."""
    with INSTALLS.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_services_started(as_root: Sequence[str]) -> Iterator[None]:
    """Debian starts a server once it is installed, unless a policy says no: we start our own, elsewhere."""
    if POLICY.exists():
        yield
        return
    try:
        script = f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"
        subprocess.run([*as_root, "sh", "-c", script], check=True)
        yield
    finally:
        subprocess.run([*as_root, "rm", "-f", str(POLICY)], check=False)


def _may_sudo() -> bool:
    return (
        shutil.which("sudo") is not None and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    )
