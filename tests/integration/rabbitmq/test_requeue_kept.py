"""`rejected requeue` looks before it takes anything out: a queue that would lose what it confirms gets nothing."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.oracle import Published
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

pytestmark = [pytest.mark.fault]

LIVE, OVERFLOW, REJECTED = "celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected"
PARKED = 30


def park(url: str, **settings: Any) -> None:
    """Declare our queues, and put messages into the one for parking."""
    with oracle.broker(url) as connection:
        channel = connection.channel()
        Topology.from_settings(Settings(broker_url=url, **settings)).declare(channel)
        confirms = oracle.Confirms(channel)
        headers = {"x-bridge-reason": "undecodable"}
        confirms.publish(
            [Published(b"no event %d" % n, {"application_headers": headers}, REJECTED) for n in range(PARKED)], ""
        )
        confirms.wait()
    until(lambda: oracle.depth(url, REJECTED) == PARKED, 20, "they are parked")


def replace(url: str, queue: str, arguments: dict[str, Any] | None) -> None:
    with oracle.broker(url) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        if arguments is not None:
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)


def set_policy(server: RabbitMQ, url: str, pattern: str, **definition: object) -> None:
    vhost = urlsplit(url).path[1:]
    server.ctl("set_policy", "-p", vhost, "everything", pattern, json.dumps(definition), "--apply-to", "queues")


def requeue(url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "rejected", "requeue", "--all", BRIDGE_BROKER_URL=url, **settings)


def refused(done: subprocess.CompletedProcess[str], url: str, *expected: str) -> None:
    """It ends with exit code 1 and one line that has all of it, and everything is parked still."""
    assert (1, "") == (done.returncode, done.stdout), done.stderr
    assert 1 == len(done.stderr.splitlines()), done.stderr
    for part in expected:
        assert part in done.stderr
    until(lambda: oracle.depth(url, REJECTED) == PARKED, 20, "all are parked")


@pytest.mark.parametrize(
    ("queue", "arguments", "named"),
    [
        (LIVE, {"x-max-length": 10}, "x-max-length=10 (the settings ask for none)"),
        (LIVE, {"x-queue-type": "quorum", "x-max-length": 10}, "x-max-length=10 (the settings ask for none)"),
        (LIVE, {"x-message-ttl": 1000}, "x-message-ttl=1000 (the settings ask for 5000)"),
        (LIVE, {"x-queue-type": "stream"}, "x-queue-type=stream (the settings ask for quorum)"),
        (OVERFLOW, {"x-message-ttl": 1000}, "x-message-ttl=1000 (the settings ask for none)"),
    ],
    ids=str,
)
def test_nothing_is_sent_into_a_queue_of_somebodys(
    broker_url: str, queue: str, arguments: dict[str, Any], named: str
) -> None:
    """Declared with other arguments than ours, it is left alone, and what differs is named with the ways out."""
    park(broker_url)
    replace(broker_url, queue, arguments)
    done = requeue(broker_url)
    refused(done, broker_url, f"queue {queue!r} was declared by somebody with other arguments", named, "queues migrate")
    assert 0 == oracle.depth(broker_url, LIVE)


@pytest.mark.parametrize("queue", [LIVE, OVERFLOW])
def test_nothing_is_sent_towards_a_queue_that_is_missing(broker_url: str, queue: str) -> None:
    """Neither the live one nor the one that a classic live queue expires into, which would drop what expires."""
    park(broker_url, queue_type="classic")
    replace(broker_url, queue, None)
    done = requeue(broker_url, BRIDGE_QUEUE_TYPE="classic")
    refused(done, broker_url, f"there is no queue {queue}", "queues declare")


@pytest.mark.parametrize(("pattern", "named"), [(".*", LIVE), (r"\.overflow$", OVERFLOW)])
def test_nothing_is_sent_under_a_policy_that_the_api_shows(
    managed_rabbitmq: NativeRabbitMQ, pattern: str, named: str
) -> None:
    """Of the live queue, or of the one that it expires into; out of the policy all of it is sent."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    park(url)
    set_policy(managed_rabbitmq, url, pattern, **{"message-ttl": 1000})
    refused(requeue(url, **seen), url, f"queue {named!r} has message-ttl=1000 by policy 'everything'", "Nothing was")
    managed_rabbitmq.ctl("clear_policy", "-p", urlsplit(url).path[1:], "everything")

    def sent() -> bool:
        return requeue(url, **seen).stdout == f"{PARKED} messages sent again\n"

    until(sent, 30, "the API shows no policy any more")


def test_what_is_not_kept_stays_parked(own_rabbitmq: RabbitMQ) -> None:
    """Without the API a policy shows by what is missing after a batch, which is not taken out then."""
    url = own_rabbitmq.new_vhost()
    park(url, queue_type="classic")
    set_policy(own_rabbitmq, url, rf"^{LIVE}(\.overflow)?$", **{"message-ttl": 0})
    done = requeue(url, BRIDGE_QUEUE_TYPE="classic")
    refused(done, url, f"queue {LIVE} does not keep what it confirms", f"the last {PARKED} are in {REJECTED} still")


def test_what_a_full_queue_has_taken_is_taken_out(own_rabbitmq: RabbitMQ) -> None:
    """The others stay, and no message is doubled."""
    url = own_rabbitmq.new_vhost()
    park(url, queue_type="classic")
    set_policy(own_rabbitmq, url, f"^{LIVE}$", **{"max-length": 10})
    done = requeue(url, BRIDGE_QUEUE_TYPE="classic")
    assert (1, "") == (done.returncode, done.stdout)
    assert f"queue {LIVE} did not take a message: it is full; nothing is lost" in done.stderr
    found = [bytes(each.body) for name in (LIVE, OVERFLOW, REJECTED) for each in oracle.drain(url, name)]
    assert sorted(found) == sorted(b"no event %d" % n for n in range(PARKED))


def test_who_may_not_declare_sends_again(managed_rabbitmq: NativeRabbitMQ) -> None:
    """What can be known is gone by: over AMQP that the queues are there, by the API their arguments too."""
    url, name = managed_rabbitmq.new_vhost(), "requeuer"
    managed_rabbitmq.ctl("add_user", name, "open-sesame")
    try:
        rights = ("^$", r"^amq\.default$", r"^celeryev\.bridge.*$")
        managed_rabbitmq.ctl("set_permissions", "-p", urlsplit(url).path[1:], name, *rights)
        managed_rabbitmq.ctl("set_user_tags", name, "monitoring")
        seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url.replace("guest:guest@", "")}
        assert "guest" not in seen["BRIDGE_MANAGEMENT_URL"]
        limited = url.replace("guest:guest", f"{name}:open-sesame")
        park(url)
        done = requeue(limited)
        assert (0, f"{PARKED} messages sent again\n") == (done.returncode, done.stdout), done.stderr
        park(url)
        replace(url, LIVE, {"x-queue-type": "quorum", "x-max-length": 10})
        done = requeue(limited, **seen)
        refused(done, url, f"queue {LIVE!r} was declared by somebody", "x-max-length=10 (the settings ask for none)")
    finally:
        managed_rabbitmq.ctl("delete_user", name)
