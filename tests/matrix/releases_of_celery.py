"""Workers and clients of one version of Celery, in an environment of its own, with a witness beside the bridges."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from examples.demo.brokers import Broker
from examples.demo.witness import Subscriber, Witness
from examples.demo.workload import Worker
from tests.support.bridges import Bridge, dying_with_us
from tests.support.servers import ServerMissing, rabbitmq
from tests.support.servers.debian import ROOT, until
from tests.support.servers.kafka_files import cache
from tests.support.servers.redis import NativeRedis, version_of
from tests.support.stores import SqliteStore

MESSAGES = 800


@contextmanager
def on_rabbitmq() -> Iterator[Broker]:
    """The one that all tests use."""
    with rabbitmq() as server:
        yield Broker("", server.new_vhost(), {}, Witness, keeps=True)


@contextmanager
def on_redis(command: Callable[[], Sequence[str]]) -> Iterator[Broker]:
    """One that this command starts, called by its name and version."""
    server = NativeRedis(server=command())
    try:
        server.start()
        yield Broker(f" over {version_of(server)}", server.url, {}, Subscriber, keeps=False)
    finally:
        server.remove()


def with_workers(
    version: str, folder: Path, broker: Callable[[], AbstractContextManager[Broker]] = on_rabbitmq
) -> tuple[str, str, bool]:
    """A worker with its tasks, two bridges of which one is killed: its version, what was found, whether it is well."""
    python = environment(version)
    store = SqliteStore(folder)
    with ExitStack() as stack:
        on = stack.enter_context(broker())
        witness = on.watch(on.url)
        bridges = [Bridge(folder / f"{n}.log", store.settings | {"BRIDGE_BROKER_URL": on.url}) for n in range(2)]
        for bridge in bridges:
            stack.callback(bridge.end)
            bridge.await_ready()
        until(lambda: on.ready(bridges), 30, "a bridge forwards")
        worker = Worker(on.url, folder / "worker.log", python)
        stack.callback(worker.end)
        sender = subprocess.Popen(
            dying_with_us([python, "-m", "examples.demo.sender"]),
            cwd=ROOT,
            env=os.environ | {"DEMO_BROKER_URL": on.url},
            stdout=subprocess.DEVNULL,
        )
        stack.callback(sender.kill)
        until(lambda: witness.messages() >= MESSAGES // 2, 60, "half of the messages are published")
        bridges[on.victim(bridges)].kill()
        until(lambda: witness.messages() >= MESSAGES, 60, "all messages are published")
        sender.terminate()
        sender.wait(20)
        worker.stop()
        published = witness.events()
        with suppress(TimeoutError):  # then it is counted below
            until(lambda: published.keys() <= set(store.bodies()), 60, "all is stored")
        stored = store.bodies()
    missing = sorted(published.keys() - set(stored))
    lost, other = len(missing), len(set(stored) - published.keys())
    for body in missing[:20]:
        print(f"missing: {body[:400]!r}", file=sys.stderr)
    kinds = Counter(body.split(b'"type": "', 1)[1].split(b'"', 1)[0] for body in published)
    said = f"{len(published):,} events of {len(kinds)} types, a bridge killed: {lost} lost, {other} changed"
    return f"{version}{on.name}", said, not lost and not other


def environment(version: str) -> str:
    """The Python of an environment with that Celery, and its client of Redis. Raises ServerMissing."""
    folder = cache() / f"celery-redis-{version}-python-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        print(f"installing Celery {version}", file=sys.stderr, flush=True)
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            # Celery 5.2's transport imports `packaging`, and does not ask for it.
            [str(python), "-m", "pip", "install", "--quiet", f"celery[redis]=={version}", "packaging"],
        ]
        with tempfile.TemporaryFile("w+") as output:
            for command in commands:
                if subprocess.run(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL).returncode:
                    output.seek(0)
                    raise ServerMissing(f"Celery {version} cannot be installed: {output.read()[-300:].strip()}")
        (folder / "ready").touch()
    return str(python)
