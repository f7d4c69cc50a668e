"""The broker's side: what the bridges are set to, who watches beside them, and which one it is worth to kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from examples.demo.witness import Subscriber, Watching, Witness
from tests.support import servers
from tests.support.bridges import Bridge

FORWARDS = "this bridge forwards"
NAMES = {"rabbitmq": "RabbitMQ", "redis": "Redis"}


@dataclass(frozen=True)
class Broker:
    """One kind of broker."""

    name: str
    url: str
    settings: dict[str, str]
    watch: Callable[[str], Watching]
    keeps: bool
    """Whether it keeps what no bridge has taken; else one bridge forwards, and the others stand by."""

    def ready(self, bridges: Sequence[Bridge]) -> bool:
        """Return whether the bridges do what they will do."""
        return self.keeps or any(bridge.logged(FORWARDS) for bridge in bridges)

    def victim(self, bridges: Sequence[Bridge]) -> int:
        """Return the place of the bridge whose death tells the most: on Redis the one that forwards now."""
        return 0 if self.keeps else max(range(len(bridges)), key=lambda place: _began_to_forward(bridges[place]))


def _began_to_forward(bridge: Bridge) -> str:
    """Return when it last did; empty where it never has."""
    return max((str(line["timestamp"]) for line in bridge.logged(FORWARDS)), default="")


@contextmanager
def broker(name: str) -> Iterator[Broker]:
    """The broker called `name`."""
    if name == "redis":
        with servers.redis(own=True) as redis:
            yield Broker(NAMES[name], redis.url, {}, Subscriber, keeps=False)
    else:
        with servers.rabbitmq(own=True) as rabbitmq:
            # Small, so that three bridges cannot hold all of the pause in their hands, and events outlive the TTL.
            yield Broker(NAMES[name], rabbitmq.url(), {"BRIDGE_PREFETCH": "20"}, Witness, keeps=True)
