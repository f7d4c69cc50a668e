"""What the pages on TLS and on rights print runs, against servers that are set up as they say: RabbitMQ and Redis."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.support.servers.debian import free_port, until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.servers.redis import NativeRedis
from tests.support.stores import at_full_length
from tests.support.terminal.page import END, Page
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.tls import RIGHTS, TLS, Removable, Renewal, of_server
from tests.support.terminal.world import World

pytestmark = pytest.mark.timeout(1200)


@at_full_length
def test_blocks_on_tls_to_rabbitmq(world: World, certified: Terminal, servers: list[Removable]) -> None:
    """Encrypted, then mutual: who has no certificate is refused; a renewed one is served, and the bridge goes on."""
    port, folder = free_port(), certified.folder
    config = of_server("ini", "listeners.ssl", folder).replace("ssl.default = 5671", f"ssl.1 = 127.0.0.1:{port}")
    certified.replaced.insert(0, ("amqps://user:password@rabbitmq:5671", f"amqps://guest:guest@localhost:{port}"))
    nodes: list[NativeRabbitMQ] = []

    def start(text: str) -> None:
        while nodes:
            nodes.pop().remove()
        nodes.append(NativeRabbitMQ(text))
        servers.append(nodes[0])
        nodes[0].start()
        certified.program("rabbitmqctl", f'exec {nodes[0].control()} "$@"')

    def mutual(_world: World, terminal: Terminal) -> None:
        start(config.replace("no_peer_cert = false", "no_peer_cert = true"))
        terminal.run("! celery-event-bridge check")

    renewal = Renewal("rabbitmq", port, folder, "broker")

    def last(_world: World, terminal: Terminal) -> None:
        nodes[0].ctl("close_all_connections", "renewed")
        renewal.after(terminal)

    start(config)
    steps = {"BRIDGE_BROKER_TLS_CERT": mutual, "clear_pem_cache": renewal.before, END: last}
    Page(TLS, at=steps).type(world, certified, "RabbitMQ")


@at_full_length
def test_blocks_on_tls_to_redis(world: World, certified: Terminal, servers: list[Removable]) -> None:
    """The same for Redis."""
    port, folder = free_port(), certified.folder
    text = of_server("ini", "tls-port", folder).replace("tls-port 6380", f"tls-port {port}")
    server = NativeRedis(*(word for line in text.splitlines() for word in f"--{line}".split()))
    servers.append(server)
    server.start()
    certified.replaced[:0] = [("rediss://redis:6380", f"rediss://localhost:{port}"), ("-h redis -p 6380", f"-p {port}")]
    renewal = Renewal("redis", port, folder, "redis")

    def last(_world: World, terminal: Terminal) -> None:
        terminal.run("! BRIDGE_REDIS_TLS_CERT= BRIDGE_REDIS_TLS_KEY= celery-event-bridge check")
        with closing(server.client()) as client:
            client.client_kill_filter(_type="normal")
        renewal.after(terminal)

    steps = {"config set tls-cert-file": renewal.before, END: last}
    Page(TLS, at=steps).type(world, certified, "Redis")


@at_full_length
def test_blocks_on_rights_of_rabbitmq(world: World, terminal: Terminal) -> None:
    """Users with the rights of the page check, run, park, look and replay; a right less is told of."""

    def without(world: World, terminal: Terminal) -> None:
        looked(world, terminal)
        terminal.run("celery-event-bridge rejected list; celery-event-bridge queues show")
        world.rabbitmq.ctl("set_permissions", "bridge", "^$", "^$", "^celeryev")
        terminal.run("! celery-event-bridge check")
        terminal.run("unset BRIDGE_BROKER_URL")

    def replayed(world: World, terminal: Terminal) -> None:
        target = f"amqp://replayer:sesame@{world.broker}/elsewhere"
        command = f"celery-event-bridge replay --from sqlite:///celery-events.db --to {target}"
        world.rabbitmq.ctl("add_user", "replayer", "sesame")
        world.rabbitmq.ctl("set_permissions", "-p", "elsewhere", "replayer", "^$", "^celeryev$", "^$")
        terminal.run(command)
        world.rabbitmq.ctl("set_permissions", "-p", "elsewhere", "replayer", "^celeryev$", "^$", "^celeryev$")
        terminal.run(f"! {command}")

    try:
        Page(RIGHTS, at={"bridge-only": without, END: replayed}).type(world, terminal, "RabbitMQ")
    finally:
        for user in ("bridge", "bridge-only", "viewer", "replayer"):
            world.rabbitmq.ctl("delete_user", user)


def looked(world: World, terminal: Terminal) -> None:
    """Wait until the bridge has looked at its queues, and see that no right was missing for that."""
    until(lambda: "celeryev.bridge.bridges" in world.rabbitmq.ctl("list_queues", "name"), 30, "it has looked")
    metrics = terminal.run('curl --silent "$BRIDGE_HTTP/metrics"')
    assert 'celery_bridge_notices_total{kind="rights"} 0.0' in metrics


@at_full_length
def test_blocks_on_rights_of_redis(world: World, terminal: Terminal, servers: list[Removable]) -> None:
    """Redis denies a bridge and a reader nothing but what the page says may be left out."""
    server = NativeRedis()
    servers.append(server)
    server.start()
    terminal.replaced.insert(0, (r"\bredis:6379", f"127.0.0.1:{server.port}"))

    def denied(_world: World, _terminal: Terminal) -> None:
        with closing(server.client()) as client:
            refused = {entry["object"] for entry in client.acl_log()}
        assert refused <= {"config|get"}

    Page(RIGHTS, at={END: denied}).type(world, terminal, "Redis")
