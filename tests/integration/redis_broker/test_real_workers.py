"""Real prefork workers over Redis: the stream has all that a subscriber beside the bridges has heard, to the byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from examples.demo.witness import Subscriber
from examples.demo.workload import Worker
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.redis_broker import KEYS, settings
from tests.support.servers import Redis
from tests.support.servers.debian import until


@pytest.mark.parametrize("options", [{}, {"global_keyprefix": "app:"}])
def test_each_event_of_a_run_is_stored(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path, options: dict[str, str]
) -> None:
    """With and without a prefix; a bridge is killed in its midst, and Celery's keys in the broker are its own."""
    file, prefix = tmp_path / "events.db", options.get("global_keyprefix", "")
    given = settings(own_redis, file, BRIDGE_BROKER_TRANSPORT_OPTIONS=json.dumps(options))
    bridges = [start_bridge(**given).await_ready() for _ in range(2)]
    until(lambda: any(each.logged("this bridge forwards") for each in bridges), 30, "one forwards")
    witness = Subscriber(own_redis.url, f"{prefix}/0.celeryev/*")
    app = Celery(broker=own_redis.url)
    app.conf.update(task_send_sent_event=True, broker_transport_options=options)
    worker = Worker(own_redis.url, tmp_path / "worker.log", options=options)
    try:
        until(lambda: app.control.ping(timeout=1.0), 60, "the worker takes orders")
        for number in range(60):
            app.send_task("examples.demo.tasks.charge", (number,))
            if number == 30:
                next(each for each in bridges if each.logged("this bridge forwards")).kill()
        until(lambda: sum(body.count(b'"task-succeeded"') for body in witness.heard) == 60, 60, "all are done")
        worker.stop()
    finally:
        worker.end()
        app.close()
    heard = witness.events()

    def stored() -> set[bytes]:
        return {bytes(row["data"]) for row in oracle.in_sqlite(file)}

    until(lambda: len(stored()) >= len(heard), 20, "as many are stored as were heard")
    assert set(heard) <= stored()
    with own_redis.client() as client:
        ours = {key for key in client.keys("*") if b"celeryev" in key}
    assert ours <= {prefix.encode() + key for key in KEYS}
