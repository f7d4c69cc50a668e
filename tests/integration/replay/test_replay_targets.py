"""`replay` to a broker where something is in the way: our own queue, nobody, a full queue, a broker that goes away."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.replaying import COUNT, Receiver, committed, happened, replay, start_replay
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import at_full_length
from tests.support.streams import Stream, captured, in_sqlite


def test_where_nothing_is_confirmed_that_is_said(own_rabbitmq: RabbitMQ, stream: Stream) -> None:
    """And not that nothing matched: a memory alarm keeps a broker from taking any."""
    url = own_rabbitmq.new_vhost()
    stream.write(captured())
    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    try:
        done = run_to_end("tests.support.impatient", "replay", "--from", stream.url, "--to", url)
    finally:
        own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    assert done.returncode == 1
    assert f"none of the {len(captured())} events that matched was confirmed" in done.stderr
    assert "0 of" not in done.stderr


@pytest.mark.parametrize("kind", ["broker", "redis"])
def test_a_target_that_refuses_the_login_is_named_by_its_option(
    request: pytest.FixtureRequest, stream: Stream, kind: str
) -> None:
    """It is --to that has user and password, and not the setting of the bridge's own broker or stream."""
    url = urlsplit(request.getfixturevalue("broker_url" if kind == "broker" else "redis_url"))
    server = f"{url.hostname}:{url.port}"
    to = url._replace(netloc=f"nobody:sesame@{server}").geturl()
    done = run_to_end("tests.support.impatient", "replay", "--from", stream.url, "--to", to)
    assert done.returncode == 1
    assert "check user and password in --to" in done.stderr
    assert "BRIDGE_" not in done.stderr.splitlines()[-1]
    assert "sesame" not in done.stderr


def test_not_where_our_queue_is(broker_url: str, stream: Stream) -> None:
    """It would feed the bridge its own events: refused, with nothing sent, unless it is asked for."""
    stream.write(happened(3))
    receiver = Receiver(broker_url)
    assert 0 == oracle_declare(broker_url, "celeryev.bridge")
    done = replay("--from", stream.url, "--to", broker_url, "--group", "night")
    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "queue 'celeryev.bridge' is on exchange celeryev of amqp://guest:**@" in done.stderr
    assert "--again" in done.stderr
    assert 0 == receiver.depth()
    assert 0 == replay("--from", stream.url, "--to", broker_url, BRIDGE_QUEUE="another").returncode
    assert 0 == replay("--from", stream.url, "--to", broker_url, "--again").returncode
    assert 6 == len(receiver.messages())


def oracle_declare(url: str, queue: str) -> int:
    connection = oracle.broker(url)
    count = connection.channel().queue_declare(queue, durable=True, auto_delete=False).message_count
    connection.close()
    return int(count)


def test_nobody_listens(broker_url: str, stream: Stream) -> None:
    """Without a receiver it fails, and its group has not moved."""
    stream.write(happened(30))
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    done = replay(*arguments)
    assert (1, "") == (done.returncode, done.stderr)
    assert "none of them was received: no queue is bound there, nobody subscribed; start" in done.stdout
    receiver = Receiver(broker_url)
    assert 0 == replay(*arguments).returncode
    assert 30 == len(receiver.messages())


def test_some_types_have_no_receiver(broker_url: str, stream: Stream) -> None:
    """A receiver of tasks gets those; the others are counted."""
    stream.write(captured())
    receiver = Receiver(broker_url, key="task.#")
    done = replay("--from", stream.url, "--to", broker_url)
    others = sum(not event.type.startswith("task-") for event in captured())
    assert 0 == done.returncode
    assert f"; {others} of them had no receiver" in done.stdout
    assert len(captured()) - others == len(receiver.messages())


def test_a_full_queue(broker_url: str, stream: Stream) -> None:
    """A message that the broker refuses ends it, with one line; what was confirmed before it is committed."""
    events = happened(4000)
    stream.write(events)
    receiver = Receiver(broker_url, arguments={"x-max-length": 100, "x-overflow": "reject-publish"})
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    done = replay(*arguments)
    assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "it did not take an event: a queue bound to the exchange is full" in done.stderr
    found = [message.body for message in receiver.messages()]
    assert 100 <= len(found) < 4000
    assert [event.data for event in events[: committed(stream)]] == found[: committed(stream)]
    receiver.remove()
    receiver = Receiver(broker_url)
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {*found, *(message.body for message in receiver.messages())}


def test_the_broker_goes_away(rabbitmq_server: RabbitMQ, stream: Stream) -> None:
    """Cut off: one line and 1; a second run brings what was not committed."""
    events = happened(COUNT, apart=0.003)
    stream.write(events)
    url = rabbitmq_server.new_vhost()
    receiver = Receiver(url)
    arguments = ["--from", stream.url, "--to", url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    rabbitmq_server.ctl("close_all_connections", "--vhost", unquote(urlsplit(url).path[1:]), "for the test")
    said, complaint = process.communicate(timeout=180)
    assert (1, "", 1) == (process.returncode, said, len(complaint.splitlines())), complaint
    assert "for the test" in complaint
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {message.body for message in receiver.messages()}


@at_full_length
@pytest.mark.fault
def test_the_broker_is_killed(own_rabbitmq: RabbitMQ, stream: Stream) -> None:
    """The same with a node that is killed and comes back."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    url = own_rabbitmq.new_vhost()
    receiver = Receiver(url, arguments={"x-queue-type": "quorum"})
    own_rabbitmq.await_queues_on_disk(url, 1)
    arguments = ["--from", stream.url, "--to", url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    own_rabbitmq.kill()
    said, complaint = process.communicate(timeout=180)
    assert (1, "", 1) == (process.returncode, said, len(complaint.splitlines())), complaint
    assert "the connection is lost" in complaint
    away = replay(*arguments)
    assert (1, 1) == (away.returncode, len(away.stderr.splitlines()))
    own_rabbitmq.start()
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {message.body for message in receiver.messages()}


def test_ends_that_are_not_there(broker_url: str, tmp_path: Path) -> None:
    """One line about a stream that is missing, an empty one, a broker that does not answer."""
    none = run_to_end(
        "tests.support.impatient", "replay", "--from", f"sqlite:///{tmp_path}/none.db", "--to", broker_url
    )
    assert (1, "") == (none.returncode, none.stdout)
    assert "none.db: No such file or directory: is it there" in none.stderr.splitlines()[-1]
    stream = in_sqlite(tmp_path)
    done = replay("--from", stream.url, "--to", broker_url)
    assert (0, "", True) == (done.returncode, done.stderr, done.stdout.startswith("0 events sent"))
    away = replay("--from", stream.url, "--to", "amqp://guest:sesame@127.0.0.1:1//")
    assert (1, "", 1) == (away.returncode, away.stdout, len(away.stderr.splitlines()))
    assert "cannot connect" in away.stderr
    assert "sesame" not in away.stderr
