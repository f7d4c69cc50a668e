"""A campaign over Redis as the broker: `python -m tests.faults.redis_campaign --seconds 600 --seed 1 --sink kafka`.

Real prefork workers, three bridges, each behind a proxy of its own, and a subscriber beside them that keeps all it
hears. Every few seconds a bridge is killed, frozen for longer than its lease, or cut off from Redis. Exits 1 if an
event that the subscriber has heard is not stored, if more than 2 % are there twice, or if a key is left in the broker.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from celery import Celery

from examples.demo.witness import Subscriber
from examples.demo.workload import Worker
from tests.faults.proxy import Mode, Proxy
from tests.support.bridges import Bridge
from tests.support.redis_broker import KEYS
from tests.support.servers import Redis, kafka, redis
from tests.support.servers.debian import until
from tests.support.stores import KafkaStore, RedisStore, SqliteStore, Store

LONGER_THAN_A_LEASE = (2.5, 4.5)
"""Seconds, so many at least and at most."""
MOST_TWICE = 0.02
CARDS = ("bridge killed", "bridge frozen", "bridge partitioned")
OF_CELERY = (b"_kombu.", b"celery", b"unacked", b"demo@")
"""Begin the names of what workers have in Redis; a pidbox reply has a queue of its own name."""


class Replica:
    """A bridge, its proxy, and what has befallen it."""

    def __init__(self, number: int, broker: Redis, settings: Mapping[str, str], folder: Path) -> None:
        port = urlsplit(broker.url).port
        assert port is not None
        self.proxy = Proxy(port)
        url = broker.url.replace(f":{port}", f":{self.proxy.port}")
        self._settings = {**settings, "BRIDGE_BROKER_URL": url}
        self._log = folder / f"bridge-{number}.log"
        self.well_at = 0.0
        self.begin()

    def begin(self) -> None:
        """Start the process."""
        self.bridge = Bridge(self._log, self._settings)

    def suffer(self, card: str, dice: Random) -> None:
        """Play a card; what lasts ends with `heal`."""
        if card == "bridge killed":
            self.bridge.kill()
            self.begin()
            return
        self.well_at = time.monotonic() + dice.uniform(*LONGER_THAN_A_LEASE)
        if card == "bridge frozen":
            self.bridge.process.send_signal(signal.SIGSTOP)
        else:
            self.proxy.mode = Mode.STALL
            if dice.random() < 0.5:
                self.proxy.half_open()

    def heal(self) -> None:
        """End what lasts."""
        self.well_at = 0.0
        self.bridge.process.send_signal(signal.SIGCONT)
        self.proxy.heal()

    def end(self) -> None:
        """Stop it, whatever state it is in."""
        self.heal()
        self.bridge.stop()
        self.proxy.close()


class Feeder(threading.Thread):
    """Tasks for the workers, at a pace."""

    def __init__(self, url: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._app = Celery(broker=url)
        self._app.conf.task_send_sent_event = True
        self._rate = rate
        self._over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(max(0.0, began + self.sent / self._rate - time.monotonic())):
            self._app.send_task("examples.demo.tasks.charge", (self.sent,))
            self.sent += 1

    def finish(self) -> None:
        """Send no more."""
        self._over.set()
        self.join(30)
        self._app.close()


@contextmanager
def store_of(sink: str, folder: Path) -> Iterator[Store]:
    """Give a stream of that kind."""
    if sink == "sqlite":
        yield SqliteStore(folder)
    elif sink == "redis":
        with redis(own=True) as server:
            yield RedisStore(server)
    else:
        with kafka(own=True) as cluster:
            yield KafkaStore(cluster)


def play(replicas: Sequence[Replica], broker: Redis, dice: Random, seconds: float, every: float) -> Counter[str]:
    """Deal a card every so often; raise AssertionError where a bridge leaves something in the broker."""
    played: Counter[str] = Counter()
    end, due = time.monotonic() + seconds, time.monotonic() + every / 2
    while time.monotonic() < end:
        for replica in replicas:
            if replica.well_at and time.monotonic() >= replica.well_at:
                replica.heal()
        if time.monotonic() >= due:
            due += every
            well = [replica for replica in replicas if not replica.well_at]
            card = dice.choice(CARDS)
            dice.choice(well or replicas).suffer(card, dice)
            played[card] += 1
            assert not (left := left_behind(broker)), f"left in the broker: {left}"
        time.sleep(0.05)
    for replica in replicas:
        replica.heal()
    return played


def left_behind(broker: Redis) -> list[bytes]:
    """Return the keys in the broker that are neither Celery's nor the lease's; those have to have a time to live."""
    with broker.client() as client:
        keys = {key: client.pttl(key) for key in client.keys("*") if b"bridge" in key or not key.startswith(OF_CELERY)}
    return [key for key, left in keys.items() if not (key in KEYS and left > 0) and b"reply.celery.pidbox" not in key]


def main() -> int:
    """Run a campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.redis_campaign", description="Break bridges; count.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--sink", choices=["sqlite", "redis", "kafka"], default="redis")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two faults")
    parser.add_argument("--rate", type=float, default=50.0, help="tasks a second; each has four events")
    parser.add_argument("--bridges", type=int, default=3, help="with 1 nobody stands by, and events are lost")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="celery-event-bridge-faults-"))
    print(f"seed {options.seed}, Redis into {options.sink}, logs in {folder}", flush=True)
    with ExitStack() as stack:
        broker = stack.enter_context(redis(own=True))
        store = stack.enter_context(store_of(options.sink, folder))
        replicas = [Replica(number, broker, store.settings, folder) for number in range(options.bridges)]
        stack.callback(lambda: [replica.bridge.end() for replica in replicas])
        for replica in replicas:
            replica.bridge.await_ready()
        until(lambda: any(one.bridge.logged("this bridge forwards") for one in replicas), 30, "one forwards")
        witnesses = [Subscriber(broker.url) for _ in range(2)]
        worker = Worker(broker.url, folder / "worker.log")
        stack.callback(worker.end)
        until(lambda: witnesses[0].heard, 60, "the worker sends events")
        feeder = Feeder(broker.url, options.rate)
        feeder.start()
        played = play(replicas, broker, Random(options.seed), options.seconds, options.every)
        feeder.finish()
        worker.stop()
        heard, other = (witness.events() for witness in witnesses)
        good = judged(heard, other, store, f"{played.total()} faults {dict(played)}, {feeder.sent} tasks")
        for replica in replicas:
            replica.end()
        if left := left_behind(broker):
            print(f"left in the broker: {left}")
            good = False
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not good)


def judged(heard: Counter[bytes], other: Counter[bytes], store: Store, what: str) -> bool:
    """Wait until all is stored, and print what is missing; whether the promises hold."""
    try:
        until(lambda: store.count() >= len(heard) and heard.keys() <= {*store.bodies()}, 20, "all is stored", pause=1.0)
    except TimeoutError:
        pass  # what is missing is counted below
    stored = Counter(store.bodies())
    missing, unknown = heard.keys() - stored.keys(), stored.keys() - heard.keys()
    twice = sum(stored.values()) - len(stored)
    share = twice / max(1, len(heard))
    alike = heard == other
    print(
        f"{what}: {len(heard)} events, {len(missing)} missing, {len(unknown)} that nobody heard, "
        f"{twice} twice ({share:.2%}), two witnesses {'alike' if alike else 'DIFFER'}"
    )
    return not missing and not unknown and share <= MOST_TWICE and alike


if __name__ == "__main__":
    sys.exit(main())
