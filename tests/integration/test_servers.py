"""The servers' helper: what it starts answers, can be killed and started again, and never outlives who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import oracle
from tests.servers import RabbitMQ, Redis, containers
from tests.servers.debian import ROOT, until

SCRIPT = """
import sys, time
from tests.servers import rabbitmq, redis
with rabbitmq(own=True) as broker, redis(own=True) as store:
    print(*broker._child.pids(), *store._child.pids(), flush=True)
    time.sleep(100)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_node_comes_back_with_what_it_had_confirmed(own_rabbitmq: RabbitMQ) -> None:
    """SIGKILL, start, and a durable queue's confirmed messages are there."""
    url = own_rabbitmq.new_vhost()
    connection = oracle.broker(url)
    channel = connection.channel()
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    channel.queue_declare("q", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    channel.queue_bind("q", "celeryev", routing_key="#")
    oracle.publish(url, oracle.numbered(0, 10))
    own_rabbitmq.await_queues_on_disk(url, 1)
    own_rabbitmq.kill()
    own_rabbitmq.start()
    until(lambda: oracle.depth(url, "q") == 10, 30, "the messages are back")


def test_a_killed_redis_comes_back_with_its_file(own_redis: Redis) -> None:
    """SIGKILL, start, and what was written is there."""
    with own_redis.client() as client:
        client.config_set("appendfsync", "always")
        client.set("key", "value")
    own_redis.kill()
    own_redis.start()
    with own_redis.client() as client:
        assert b"value" == client.get("key")


def test_servers_end_with_the_process_that_asked_for_them() -> None:
    """Even when that is killed, no process of theirs is left, Erlang's port mapper included."""
    if containers.engine():
        pytest.skip("containers are ended by their engine")
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) >= 3
        assert all(map(alive, pids))
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, pids)), 20, "all server processes are gone")
