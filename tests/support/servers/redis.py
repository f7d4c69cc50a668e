"""Redis: given by its address, or a process of our own."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from redis import Redis as Client

from tests.support.servers.certificates import redis_options
from tests.support.servers.debian import Child, ServerMissing, free_port, program, until


class Redis(Protocol):
    """What tests and the demo may ask of it."""

    url: str

    def start(self) -> None:
        """Start it and wait until it answers."""

    def client(self) -> Client:
        """A plain client."""

    def pause(self) -> None:
        """It stands still, connections open."""

    def resume(self) -> None:
        """It goes on."""

    def kill(self) -> None:
        """SIGKILL."""

    def remove(self) -> None:
        """End it and remove its data."""


def version_of(server: Redis) -> str:
    """Its name and version as it says itself."""
    with server.client() as client:
        known = client.info("server")
    valkey = known.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {known['redis_version']}"


class NativeRedis:
    """A server of Debian's package, or of a command's, with an append-only file in a temporary folder."""

    def __init__(self, *options: str, server: Sequence[str] = ()) -> None:
        self._server = server or [program("redis-server", "redis-server")]
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._child: Child | None = None

    def start(self, *options: str) -> None:
        """With options for this time only."""
        if self._child is not None:
            self._child.end()
        command = [*self._server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--save", "", *self._options, *options]
        self._child = child = Child(command, {}, self._folder / "output")

        def answers() -> bool:
            if not child.running:
                raise ServerMissing(f"Redis ended at its start: {child.tail()}")
            with self.client() as client:
                return bool(client.ping())

        until(answers, 120, "Redis answers")  # after it has loaded its file

    def client(self) -> Client:
        return Client.from_url(self.url, socket_timeout=10)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        until(lambda: not self._child or not self._child.running, 20, "Redis is gone")

    def remove(self) -> None:
        if self._child is not None:
            self._child.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.signal(number, "server" if "valkey" in self._server[0] else "redis")


class TlsRedis(NativeRedis):
    """One that wants a client's certificate of the CA in that folder on its TLS port, and has a plain one beside it."""

    def __init__(self, certificates: Path) -> None:
        self.tls_port = free_port()
        super().__init__(*redis_options(certificates, self.tls_port))


class GivenRedis:
    """Somebody's, by its address: a test's database is emptied; to pause it, its writers are."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """It runs."""

    def client(self) -> Client:
        return Client.from_url(self.url, socket_timeout=10)

    def pause(self) -> None:
        self.client().client_pause(600_000, all=False)

    def resume(self) -> None:
        self.client().client_unpause()

    def kill(self) -> None:
        raise ServerMissing("a server given by TEST_REDIS_URL is not killed")

    def remove(self) -> None:
        """It is not ours."""
