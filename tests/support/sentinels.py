"""A master of Redis, its replica, and three sentinels, as processes of our own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.sentinel import Sentinel

from tests.support.servers.debian import Child, free_port, program, until
from tests.support.servers.redis import NativeRedis

NAME = "mymaster"


class Sentinels:
    """Three that watch a master and its replica."""

    def __init__(self, folder: Path) -> None:
        self.servers = [NativeRedis(), NativeRedis()]
        self._folder = folder
        self.ports: list[int] = []
        self._children: list[Child] = []

    @property
    def url(self) -> str:
        """Celery's `broker_url`."""
        return ";".join(f"sentinel://127.0.0.1:{port}/0" for port in self.ports)

    def start(self) -> None:
        """Start all, and wait until the sentinels agree and know the replica."""
        master, replica = self.servers
        master.start()
        replica.start("--replicaof", "127.0.0.1", str(master.port))
        for number in range(3):
            port = free_port()
            file = self._folder / f"sentinel-{number}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {master.port} 2\n"
                f"sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n"
            )
            command = [program("redis-server", "redis-server"), str(file), "--sentinel"]
            self._children.append(Child(command, {}, self._folder / f"sentinel-{number}.log"))
            self.ports.append(port)
        until(self._agreed, 60, "the sentinels agree")

    def master(self) -> int:
        """Return the port of the master, as the sentinels say."""
        asked = Sentinel([("127.0.0.1", port) for port in self.ports], socket_timeout=2)
        try:
            return int(asked.discover_master(NAME)[1])
        finally:
            for each in asked.sentinels:
                each.close()

    def end(self) -> None:
        for child in self._children:
            child.end()
        for server in self.servers:
            server.remove()

    def _agreed(self) -> bool:
        asked = Sentinel([("127.0.0.1", port) for port in self.ports], socket_timeout=2)
        try:
            states = [each.sentinel_master(NAME) for each in asked.sentinels]
        finally:
            for each in asked.sentinels:
                each.close()
        return all(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2 for state in states)


@contextmanager
def sentinels() -> Iterator[Sentinels]:
    folder = Path(tempfile.mkdtemp(prefix="sentinels-"))
    made = Sentinels(folder)
    try:
        made.start()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)
