"""Memory of a process and of a node, in MiB."""

from __future__ import annotations

import threading

from tests.support.bridges import Bridge


class Memory(threading.Thread):
    """The highest resident memory of each bridge while it runs."""

    def __init__(self, bridges: list[Bridge]) -> None:
        super().__init__(daemon=True)
        self._bridges = bridges
        self.idle = [bridge.rss_bytes() for bridge in bridges]
        self.peak = list(self.idle)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.05):
            self.peak = [max(peak, bridge.rss_bytes()) for peak, bridge in zip(self.peak, self._bridges, strict=True)]

    def growth(self) -> list[int]:
        self._stopping.set()
        self.join(60)
        return [peak - idle for peak, idle in zip(self.peak, self.idle, strict=True)]


def mebibytes(sizes: list[int]) -> list[float]:
    return [round(size / 2**20, 1) for size in sizes]
