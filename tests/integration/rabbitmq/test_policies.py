"""Policies that others set on our queues: seen by `check`, `queues show` and `run`, given the management API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import SqliteStore

LIVE = "celeryev.bridge"


@pytest.fixture
def vhost(managed_rabbitmq: NativeRabbitMQ) -> tuple[str, str]:
    """The URL of a vhost with our queues in it, and its name."""
    url = managed_rabbitmq.new_vhost()
    with oracle.broker(url) as connection:
        Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
    return url, urlsplit(url).path[1:]


def settings(managed_rabbitmq: NativeRabbitMQ, url: str, folder: Path) -> dict[str, str]:
    return SqliteStore(folder).settings | {
        "BRIDGE_BROKER_URL": url,
        "BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url,
    }


POLICIES = [
    ("set_policy", {"message-ttl": 1000}, f"{LIVE}.overflow"),
    ("set_policy", {"max-length": 10}, LIVE),
    ("set_policy", {"expires": 600_000}, LIVE),
    ("set_policy", {"max-length-bytes": 20_000}, f"{LIVE}.rejected"),
    ("set_operator_policy", {"message-ttl": 1000}, LIVE),
    ("set_operator_policy", {"max-length-bytes": 1000}, f"{LIVE}.rejected"),
]


@pytest.mark.parametrize(("command", "policy", "queue"), POLICIES, ids=str)
def test_a_policy_that_makes_a_queue_lose_is_seen(
    managed_rabbitmq: NativeRabbitMQ,
    vhost: tuple[str, str],
    tmp_path: Path,
    command: str,
    policy: dict[str, int],
    queue: str,
) -> None:
    """`queues show` fails and says it; no password is in any of it."""
    url, name = vhost
    managed_rabbitmq.ctl(command, "-p", name, "everything", ".*", json.dumps(policy), "--apply-to", "queues")
    # The API has a policy a moment after it was set.
    until(lambda: shown(settings(managed_rabbitmq, url, tmp_path), policy, queue, "queues", "show"), 20, "it is shown")


def shown(given: dict[str, str], policy: dict[str, int], queue: str, *arguments: str) -> bool:
    """Whether the command fails, and names the policy in one of its lines."""
    done = run_to_end("celery_event_bridge", *arguments, **given)
    assert "guest:guest" not in done.stdout + done.stderr
    return done.returncode == 1 and any(
        line.startswith("FAIL") and of(policy, queue) in line and "'everything'" in line
        for line in done.stdout.splitlines()
    )


def of(policy: dict[str, int], queue: str) -> str:
    ((key, value),) = policy.items()
    return f"queue '{queue}' has {key}={value} by "


@pytest.mark.parametrize("declares", ["true", "false"])
def test_a_binding_that_is_removed_is_a_gap_for_certain_where_the_api_is_asked(
    start_bridge: Callable[..., Bridge],
    managed_rabbitmq: NativeRabbitMQ,
    vhost: tuple[str, str],
    tmp_path: Path,
    declares: str,
) -> None:
    """With no event before it and none after; who declares nothing is not ready until somebody has bound it."""
    url, _ = vhost
    bridge = start_bridge(**settings(managed_rabbitmq, url, tmp_path), BRIDGE_DECLARE=declares).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    before = bridge.metric("gaps_total")  # what has declared the queues is no bridge
    with oracle.broker(url) as connection:
        channel = connection.channel()
        channel.queue_unbind(LIVE, "celeryev", "#")
        until(lambda: bridge.metric("gaps_total") == before + 1, 20, "the gap is counted")
        bridge.await_log("the binding had been removed")
        if declares == "false":
            reason = f"queue {LIVE!r} is not bound to exchange 'celeryev': no event reaches it\n"
            until(lambda: bridge.get("/readyz") == (503, reason), 10, "it says why it is not ready")
            channel.queue_bind(LIVE, "celeryev", "#")
    bridge.await_ready()
    assert before + 1 == bridge.metric("gaps_total")


@pytest.mark.parametrize(("command", "policy", "queue"), [POLICIES[0], POLICIES[4]], ids=str)
def test_a_policy_fails_check_and_is_told_by_a_bridge(
    start_bridge: Callable[..., Bridge],
    managed_rabbitmq: NativeRabbitMQ,
    vhost: tuple[str, str],
    tmp_path: Path,
    command: str,
    policy: dict[str, int],
    queue: str,
) -> None:
    """By `run` once, from its start on."""
    url, name = vhost
    managed_rabbitmq.ctl(command, "-p", name, "everything", ".*", json.dumps(policy), "--apply-to", "queues")
    given = settings(managed_rabbitmq, url, tmp_path)
    until(lambda: shown(given, policy, queue, "check"), 30, "check fails")
    bridge = start_bridge(**given).await_ready()
    bridge.await_log(of(policy, queue))
    assert 1 == len(bridge.logged(of(policy, queue)))
    assert bridge.metric("notices_total", kind="policy") >= 1


def test_a_policy_of_a_higher_priority_keeps_our_queues_out(
    managed_rabbitmq: NativeRabbitMQ, vhost: tuple[str, str], tmp_path: Path
) -> None:
    """As docs/how-to/queues.md has it; and listening for events ends, although the broker's heartbeats come."""
    url, name = vhost
    managed_rabbitmq.ctl("set_policy", "-p", name, "everything", ".*", '{"max-length":10}', "--apply-to", "queues")
    ours = ["set_policy", "-p", name, "--priority", "999", "--apply-to", "queues"]
    managed_rabbitmq.ctl(*ours, "celery-event-bridge", r"^celeryev\.bridge", '{"delivery-limit":1000000}')

    def content() -> bool:
        done = run_to_end("celery_event_bridge", "check", **settings(managed_rabbitmq, url, tmp_path))
        assert "exchange celeryev: no event in 5 s: do workers run, and with -E" in done.stdout
        return done.returncode == 0 and "policies: none that changes what our queues keep" in done.stdout

    until(content, 20, "check is content")


def test_a_queue_that_is_not_bound_fails_check(
    managed_rabbitmq: NativeRabbitMQ, vhost: tuple[str, str], tmp_path: Path
) -> None:
    """By the management API, at once, although no event comes."""
    url, _ = vhost
    given = settings(managed_rabbitmq, url, tmp_path)
    assert 0 == run_to_end("celery_event_bridge", "check", **given).returncode
    connection = oracle.broker(url)
    channel = connection.channel()
    channel.queue_unbind(LIVE, "celeryev", "#")
    done = run_to_end("celery_event_bridge", "check", **given)
    assert (1, True) == (done.returncode, "is not bound to exchange celeryev" in done.stdout)
    connection.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://guest:wrong-one@{}", "it answers 401"),
        ("http://127.0.0.1:1", "no answer"),
        ("http://guest:open-sesame@", "expected http://host"),
    ],
)
def test_an_api_that_cannot_be_asked_is_said(
    managed_rabbitmq: NativeRabbitMQ, vhost: tuple[str, str], tmp_path: Path, url: str, expected: str
) -> None:
    """In one line, without the password."""
    given = settings(managed_rabbitmq, vhost[0], tmp_path)
    given["BRIDGE_MANAGEMENT_URL"] = url.format(managed_rabbitmq.management_url.rpartition("@")[2])
    done = run_to_end("celery_event_bridge", "check", **given)
    assert done.returncode in (1, 2)
    assert expected in done.stdout + done.stderr
    assert not {"wrong-one", "open-sesame"} & set(
        (done.stdout + done.stderr).replace(":", " ").replace("@", " ").split()
    )


def test_a_binding_that_was_removed_while_no_bridge_ran_is_told_of(
    start_bridge: Callable[..., Bridge], managed_rabbitmq: NativeRabbitMQ, vhost: tuple[str, str], tmp_path: Path
) -> None:
    """The management API shows it, before it is declared again."""
    url, _ = vhost
    given = settings(managed_rabbitmq, url, tmp_path)
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", **given).returncode
    with oracle.broker(url) as connection:
        connection.channel().queue_unbind(LIVE, "celeryev", "#")
    bridge = start_bridge(**given).await_ready()
    until(lambda: bridge.metric("gaps_total") == 1, 10, "the gap is counted")
    assert "the binding had been removed" in bridge.logged("gap on the way")[0]["event"]
