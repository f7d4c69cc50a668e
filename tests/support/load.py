"""A steady stream of numbered messages from a thread; RabbitMQ has confirmed all of them when it ends."""

from __future__ import annotations

import threading
import time

from tests.support import oracle


class Load(threading.Thread):
    """Publishes `rate` messages a second until stopped, or until there have been `total`."""

    def __init__(
        self, broker_url: str, rate: int, *, size: int = 350, total: int | None = None, first: int = 0, hosts: int = 7
    ) -> None:
        super().__init__(daemon=True)
        self._url = broker_url
        self._rate = rate
        self._size = size
        self._total = total
        self._first = first
        self._hosts = hosts
        self._stopping = threading.Event()
        self._began = 0.0
        self.published: list[bytes] = []
        """The bodies, in order."""
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._publish()
        except Exception as exc:  # noqa: BLE001 - the test asks for it in `finish`
            self.error = exc

    def finish(self, *, wait: bool = False) -> list[bytes]:
        """Stop, or wait until all are published; returns the bodies. Raises what went wrong."""
        if not wait:
            self._stopping.set()
        self.join(300)
        if self.error is not None:
            raise self.error
        return self.published

    def published_at(self, number: int) -> float:
        """When, by its rate: seconds since 1970."""
        return self._began + (number - self._first) / self._rate

    def _publish(self) -> None:
        with oracle.broker(self._url) as connection:
            confirms = oracle.Confirms(connection.channel())
            start, self._began = time.monotonic(), time.time()
            while not self._stopping.is_set() and (self._total is None or len(self.published) < self._total):
                due = int((time.monotonic() - start) * self._rate) + 1 - len(self.published)
                due = min(due, 500) if self._total is None else min(due, 500, self._total - len(self.published))
                batch = oracle.numbered(self._first + len(self.published), due, size=self._size, hosts=self._hosts)
                confirms.publish(batch)
                confirms.look()
                self.published += [message.body for message in batch]
                time.sleep(0.005)
            confirms.wait()


def publish(broker_url: str, count: int, first: int) -> None:
    """Publish numbered messages, confirmed by RabbitMQ."""
    with oracle.broker(broker_url) as connection:
        confirms = oracle.Confirms(connection.channel())
        confirms.publish(oracle.numbered(first, count))
        confirms.wait()
