"""The servers' helper: what it starts answers, can be killed and started again, and never outlives who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from tests.support import oracle
from tests.support.servers import Kafka, RabbitMQ, Redis, containers
from tests.support.servers.debian import ROOT, until
from tests.support.servers.kafka import admin, brokers

SCRIPT = """
import time
from concurrent.futures import ThreadPoolExecutor
from tests.support.servers import kafka, rabbitmq, redis
managers = [make(own=True) for make in (rabbitmq, redis, kafka)]
with ThreadPoolExecutor() as pool:
    broker, store, stream = pool.map(lambda manager: manager.__enter__(), managers)
print(*broker._child.pids(), *broker._mapper.pids(), *store._child.pids(), *stream._children[1].pids(), flush=True)
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
    connection.close()
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


def test_a_killed_kafka_comes_back_with_its_log(own_kafka: Kafka) -> None:
    """SIGKILL, start, and what it had confirmed is there."""
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "log_level": 0})
    producer.produce("kept", b"value", b"key")
    assert 0 == producer.flush(20)
    own_kafka.kill()
    own_kafka.start()
    assert [(b"key", b"value")] == [
        (record.key, record.value) for record in oracle.in_kafka(own_kafka.bootstrap, "kept")
    ]


def test_a_paused_kafka_goes_on(own_kafka: Kafka) -> None:
    """It does not answer while it stands still, and does afterwards."""
    own_kafka.pause()
    try:
        with pytest.raises(KafkaException):
            admin(own_kafka.bootstrap).list_topics(timeout=1)
    finally:
        own_kafka.resume()
    until(lambda: {1} == brokers(own_kafka.bootstrap), 20, "it answers")


def test_servers_end_with_the_process_that_asked_for_them() -> None:
    """Even when that is killed, no process of theirs is left, Erlang's port mapper included."""
    if containers.can_run(containers.RABBITMQ) or containers.can_run(containers.REDIS):
        pytest.skip("containers are ended by testcontainers' own reaper")
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert sum(map(alive, pids)) >= 8  # of the four a guardian each, too; RabbitMQ has others, for a moment
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, pids)), 20, "all server processes are gone")
