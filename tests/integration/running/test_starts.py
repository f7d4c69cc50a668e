"""Starts with an end that is not there or refuses: one line that says what, where and what to do; nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis as Client

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import RabbitMQ, Redis
from tests.support.servers.debian import free_port, until
from tests.support.starts import command, publish, with_user
from tests.support.stores import RedisStore, SqliteStore


def test_check_is_content_with_a_sound_setup(broker_url: str, tmp_path: Path) -> None:
    """With both ends there, `check` exits 0, and says so in the order of an event's way; it makes and stores nothing.

    The settings come behind it, on demand; `--format json` has all in one object, and no key for settings unless asked.
    """
    settings = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SQLITE_PATH": str(tmp_path / "events.db")}
    settings["BRIDGE_HTTP"] = f"127.0.0.1:{free_port()}"
    done = command("check", **settings)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "guest:guest" not in done.stdout
    subjects = [line.split()[1] for line in done.stdout.splitlines()]
    assert ["settings", "broker", "exchange", "queue", "sink", "health"] == [
        *dict.fromkeys(each for each in subjects if each != "policies")
    ]
    assert f"the file {tmp_path}/events.db is not there yet, run will make it" in done.stdout
    assert [] == [*tmp_path.iterdir()]
    more = command("check", "--settings", **settings).stdout
    assert more.startswith(done.stdout)
    assert "     BRIDGE_OVERFLOW_MAX_BYTES=4GiB" in more.splitlines()
    found = json.loads(command("check", "--format", "json", "--settings", **settings).stdout)
    assert found["ok"]
    assert done.stdout == "".join(f"{each['verdict']:<4} {each['text']}\n" for each in found["findings"])
    assert "5" == found["settings"]["BRIDGE_QUEUE_TTL"]
    assert ["ok", "findings"] == [*json.loads(command("check", "--format", "json", **settings).stdout)]


def test_settings_of_a_sink_that_is_not_selected(
    start_bridge: Callable[..., Bridge], broker_url: str, redis_url: str, tmp_path: Path
) -> None:
    """`check` and `run` warn of them, once, and the start's line says where the events go instead."""
    path = tmp_path / "events.db"
    settings = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_REDIS_URL": redis_url, "BRIDGE_SQLITE_PATH": str(path)}
    said = "BRIDGE_REDIS_URL is set, and BRIDGE_SINK is sqlite"
    done = command("check", **settings)
    assert 0 == done.returncode
    assert 1 == done.stdout.count(f"warn {said}")
    bridge = start_bridge(**settings).await_ready()
    assert ["warning"] == [line["level"] for line in bridge.logged(said)]
    assert str(path) == bridge.await_log("started")["sqlite_path"]


def test_event_types_that_match_nothing(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """`check` fails, and `run` says at once what was meant, and how many events it has dropped; each is counted."""
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_EVENT_TYPES": "task_failed"}
    bridge = start_bridge(**settings).await_ready()
    assert 2 == len(bridge.logged("did you mean task-failed?"))
    publish(broker_url, 5)
    line = bridge.await_log("acknowledged and dropped, and none was forwarded")
    assert ("warning", "all-filtered") == (line["level"], line["kind"])
    assert "did you mean task-failed?" in line["event"]
    until(lambda: bridge.metric("notices_total", kind="all-filtered") == 5, 10, "each is counted")
    assert 5 == bridge.metric("events_filtered_total")
    done = command("check", **settings)
    assert 1 == done.returncode
    assert 2 == done.stdout.count("did you mean task-failed?")


def test_a_sink_that_is_not_there_yet(start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis) -> None:
    """The bridge waits and says so, takes nothing meanwhile, and forwards when the sink comes."""
    own_redis.kill()
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **RedisStore(own_redis).settings)
    line = bridge.await_log("sink unavailable")
    assert "Connection refused" in line["reason"]
    published = publish(broker_url, 50)
    code, text = bridge.get("/readyz")
    assert (503, True) == (code, "redis: " in text)
    assert 0 == bridge.metric("messages_received_total")
    own_redis.start()
    until(lambda: RedisStore(own_redis).count() == 50, 30, "all is stored")
    assert published == set(RedisStore(own_redis).bodies())
    assert 0 == bridge.stop()


def test_a_broker_that_is_not_there_yet(start_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    """It keeps trying and says why; a stop meanwhile is prompt and clean."""
    url = f"amqp://guest:sesame@127.0.0.1:{free_port()}//"
    bridge = start_bridge(BRIDGE_BROKER_URL=url, **SqliteStore(tmp_path).settings)
    line = bridge.await_log("broker unavailable")
    assert "Connection refused" in line["reason"]
    assert 0 == bridge.stop()
    assert "sesame" not in bridge.log_file.read_text()


def test_the_second_of_two_brokers_is_tried(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Of several URLs separated by semicolons, the next is tried when one does not answer."""
    store = SqliteStore(tmp_path)
    urls = f"amqp://guest:guest@127.0.0.1:{free_port()}//;{broker_url}"
    start_bridge(BRIDGE_BROKER_URL=urls, **store.settings).await_ready()
    published = publish(broker_url, 5)
    until(lambda: store.count() == 5, 20, "all is stored")
    assert published == set(store.bodies())


def test_a_wrong_password_of_the_broker(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """`check` says it in one line and exits 1, `run` says it and keeps trying; neither shows the password."""
    settings = {
        "BRIDGE_BROKER_URL": with_user(broker_url, "guest", "open-sesame"),
        "BRIDGE_SQLITE_PATH": str(tmp_path / "a.db"),
    }
    done = command("check", **settings)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "login refused" in line
    assert "BRIDGE_BROKER_URL" in line
    bridge = start_bridge(**settings)
    assert "login refused" in bridge.await_log("broker unavailable")["reason"]
    assert bridge.process.poll() is None
    assert 0 == bridge.stop()
    assert "sesame" not in done.stdout + done.stderr + bridge.log_file.read_text()


def test_a_wrong_password_of_redis(start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis) -> None:
    """As for the broker; and when the password is right again, the bridge goes on by itself."""
    with own_redis.client() as client:
        client.config_set("requirepass", "right")
    settings = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SINK": "redis"}
    settings["BRIDGE_REDIS_URL"] = own_redis.url.replace("redis://", "redis://:open-sesame@")
    done = command("check", **settings)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "BRIDGE_REDIS_URL" in line
    bridge = start_bridge(**settings)
    assert "password" in bridge.await_log("sink unavailable")["reason"]
    published = publish(broker_url, 10)
    with Client.from_url(own_redis.url, password="right") as client:
        client.config_set("requirepass", "open-sesame")
        until(lambda: client.xlen("celery-events") == 10, 30, "all is stored")
        assert published == {fields[b"data"] for _, fields in client.xrange("celery-events")}
    assert 0 == bridge.stop()
    assert "sesame" not in done.stdout + done.stderr + bridge.log_file.read_text()


def test_a_queue_with_other_arguments(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """The line names the queue, the argument, both values and the ways out; the queue's messages stay.

    `run` ends with it and exit code 2: whoever started it sees that sooner than a log.
    """
    first = start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings).await_ready()
    assert 0 == first.stop()
    published = publish(broker_url, 10)
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE_TTL": "7"}
    done = command("check", **settings)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    wanted = ("celeryev.bridge", "x-message-ttl=5000", "x-message-ttl=7000", "BRIDGE_QUEUE_TTL", "BRIDGE_QUEUE ")
    assert [] == [text for text in wanted if text not in f"{line} "]
    refused = command("run", **settings, BRIDGE_HTTP="off")
    said = refused.stderr.splitlines()[-1]
    assert 2 == refused.returncode
    assert said.startswith("celery-event-bridge: declaring the queues: queue 'celeryev.bridge' exists with")
    assert [] == [text for text in wanted if text not in f"{said} "]
    assert "move with `queues migrate --from celeryev.bridge`" in said
    again = start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings)
    until(lambda: SqliteStore(tmp_path).count() == 10, 30, "all is stored")
    assert 0 == again.stop()
    assert published == set(SqliteStore(tmp_path).bodies())


def test_an_exchange_of_another_type(broker_url: str, tmp_path: Path) -> None:
    """`check` says what `run` would meet, although the exchange is there."""
    with oracle.broker(broker_url) as connection:
        connection.channel().exchange_declare("celeryev", "fanout", durable=True, auto_delete=False)
    done = command("check", **SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=broker_url)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "exchange 'celeryev'" in line
    assert "fanout" in line
    refused = command("run", **SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_HTTP="off")
    assert 2 == refused.returncode
    assert "exchange 'celeryev' exists with type=fanout" in refused.stderr.splitlines()[-1]


def test_a_vhost_without_permission(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """One line: no access to the vhost, and, with access but no right to declare, what to grant."""
    url = own_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    own_rabbitmq.ctl("add_user", "mallory", "open-sesame")
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": with_user(url, "mallory", "open-sesame")}
    done = command("check", **settings)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "vhost" in line
    own_rabbitmq.ctl("set_permissions", "-p", vhost, "mallory", "^$", "^$", ".*")
    bridge = start_bridge(**settings)
    line = bridge.await_log("broker unavailable")["reason"]
    assert "grant this user configure" in line
    own_rabbitmq.ctl("set_permissions", "-p", vhost, "mallory", ".*", ".*", ".*")
    bridge.await_ready()
    assert 0 == bridge.stop()
    assert "sesame" not in done.stdout + done.stderr + bridge.log_file.read_text()


def test_queues_that_somebody_else_declares(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """With BRIDGE_DECLARE=false a missing queue is said so and waited for, and nothing is declared."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, BRIDGE_DECLARE="false", **store.settings)
    assert "BRIDGE_DECLARE" in bridge.await_log("broker unavailable")["reason"]
    other = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    assert 0 == other.stop()
    bridge.await_ready()
    published = publish(broker_url, 5)
    until(lambda: store.count() == 5, 20, "all is stored")
    assert published == set(store.bodies())
