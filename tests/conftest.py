"""Fixtures: real servers, bridges as processes. A missing server skips the test, and fails it where CI is set."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TypeVar

import amqp
import hypothesis
import pytest
import structlog

from celery_event_bridge.contract import notices, secret_files
from tests.support.bridges import Bridge
from tests.support.closing import close_all, left_open
from tests.support.servers import Kafka, RabbitMQ, Redis, ServerMissing, kafka, rabbitmq, redis
from tests.support.servers.ahead import Ahead
from tests.support.servers.certificates import certificates as make_certificates
from tests.support.servers.rabbitmq import NativeRabbitMQ, can_connect
from tests.support.servers.redis import TlsRedis
from tests.support.sharing import Sharing, turn
from tests.support.stores import KafkaStore, RedisStore, SqliteStore, Store

Server = TypeVar("Server")

pytest.register_assert_rewrite("celery_event_bridge.testing")
# How long an example takes says something of the machine, and nothing of what is tested.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
collect_ignore = [] if os.environ.get("CONTAINERS") else ["compose"]
"""A Docker engine is needed for these, for nothing else: `make containers` runs them."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A server that is missing skips a test on a laptop and fails it in CI."""
    if call.excinfo and call.excinfo.errisinstance(ServerMissing) and not os.environ.get("CI"):
        try:
            pytest.skip(str(call.excinfo.value))
        except pytest.skip.Exception as skipped:
            call.excinfo = pytest.ExceptionInfo.from_exception(skipped)
    return (yield)


NO_SOCKET_LEFT = ("tests/unit/", "tests/integration/redis/", "tests/integration/sqlite/", "tests/integration/audit/")
"""Folders whose modules close every socket that they open; of the others the collector finds some."""


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """A socket or a file that a module's tests have not closed fails the last of them, and none of another module."""
    yield
    close_all()
    left = left_open() if request.node.nodeid.startswith(NO_SOCKET_LEFT) else []
    gc.collect()
    gc.freeze()  # What is still in use is no module's to close. Looked at again after each, it takes a fifth of a run.
    assert not left, f"{request.node.nodeid} has left open: {left}"


SHARED = pytest.StashKey[Ahead]()
AT_ONCE = {"rabbitmq_server", "redis_server"}
"""Servers that every process of a run needs; what comes to it decides about the others."""


@pytest.fixture(autouse=True)
def _nothing_was_told_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Notices and files of secrets are one for the process: each test begins without, and with the log as it comes."""
    notices.NOTICES.clear()
    # A password that one test has in a file is another one's plain value.
    secret_files.SECRET_FILES.clear()
    configure = structlog.configure
    # Each module's logger would keep the first configuration it meets, for all tests that come after.
    uncached = {"cache_logger_on_first_use": False}
    monkeypatch.setattr(structlog, "configure", lambda **given: configure(**given | uncached))
    level, handlers = logging.root.level, logging.root.handlers[:]
    yield
    # What a command that was run here has configured.
    structlog.reset_defaults()
    logging.getLogger("celery_event_bridge").setLevel(logging.NOTSET)
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers


def pytest_configure(config: pytest.Config) -> None:
    """The servers of a whole run, by their fixtures' names."""
    config.stash[SHARED] = Ahead(
        {
            "rabbitmq_server": rabbitmq,
            "redis_server": redis,
            "kafka_server": kafka,
            "_own_rabbitmq": partial(rabbitmq, own=True),
            "_own_kafka": partial(kafka, own=True),
        }
    )


class SaidAtOnce:
    """Says what has failed while the rest still runs: a run that is cut off has no list of it at its end."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            last = report.longreprtext.strip().rpartition("\n")[2]
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}): {last}")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Where tests run side by side, the one process that has a terminal speaks for all."""
    if terminal := session.config.pluginmanager.get_plugin("terminalreporter"):
        session.config.pluginmanager.register(SaidAtOnce(terminal))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    """Side by side, whatever `--dist` says."""
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order in which they are shared out."""
    items.sort(key=lambda item: turn(item.nodeid))


def pytest_runtestloop(session: pytest.Session) -> None:
    """Those that nearly all need start at once, beside the tests that come first and need none."""
    if not session.config.option.collectonly:
        # What is there before the first test is none of a module's: looking at it after each takes half of a run.
        gc.collect()
        gc.freeze()
        needed = {name for item in session.items for name in item.fixturenames}
        side_by_side = hasattr(session.config, "workerinput")
        session.config.stash[SHARED].begin(needed & AT_ONCE if side_by_side else needed)


def pytest_unconfigure(config: pytest.Config) -> None:
    """They end."""
    config.stash[SHARED].close()


def _serving(server: AbstractContextManager[Server]) -> Iterator[Server]:
    with server as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq_server(pytestconfig: pytest.Config) -> RabbitMQ:
    return pytestconfig.stash[SHARED].server("rabbitmq_server")


@pytest.fixture
def broker_url(rabbitmq_server: RabbitMQ) -> str:
    """A vhost with nothing in it."""
    return rabbitmq_server.new_vhost()


@pytest.fixture(scope="session")
def _own_rabbitmq(pytestconfig: pytest.Config) -> RabbitMQ:
    return pytestconfig.stash[SHARED].server("_own_rabbitmq")


@pytest.fixture
def own_rabbitmq(_own_rabbitmq: RabbitMQ) -> RabbitMQ:
    """A node that a test may stop and kill; it runs for the next one, too, which uses a vhost of its own."""
    try:
        can_connect(_own_rabbitmq.url())
    except (OSError, amqp.AMQPError):  # a test that has failed leaves it as it was
        _own_rabbitmq.start()
    return _own_rabbitmq


@pytest.fixture(scope="module")
def managed_rabbitmq() -> Iterator[NativeRabbitMQ]:
    """A node with the management API, which a test may break as it likes in a vhost of its own."""
    node = NativeRabbitMQ(managed=True)
    try:
        node.start()
        yield node
    finally:
        node.remove()


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Redis:
    return pytestconfig.stash[SHARED].server("redis_server")


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """A database with nothing in it."""
    with redis_server.client() as client:
        client.flushdb()
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A server that a test may stop, pause and kill."""
    yield from _serving(redis(own=True))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA of the module's own, a certificate for `localhost` and one for a client."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def tls_redis(certificates: Path) -> Iterator[TlsRedis]:
    """A Redis that wants a client's certificate on its TLS port, and has a plain one beside it."""
    server = TlsRedis(certificates)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def kafka_server(pytestconfig: pytest.Config) -> Kafka:
    return pytestconfig.stash[SHARED].server("kafka_server")


@pytest.fixture(scope="session")
def _own_kafka(pytestconfig: pytest.Config) -> Kafka:
    return pytestconfig.stash[SHARED].server("_own_kafka")


@pytest.fixture
def own_kafka(_own_kafka: Kafka) -> Kafka:
    """A node that a test may stop, pause and kill; it runs for the next one, too, which uses a topic of its own."""
    _own_kafka.start()
    return _own_kafka


@pytest.fixture(scope="module")
def kafka_cluster() -> Iterator[Kafka]:
    """Three nodes that a test may kill one by one, if it starts them again."""
    yield from _serving(kafka(own=True, nodes=3))


@pytest.fixture
def start_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Starts bridges: `start_bridge(BRIDGE_SINK="redis", ...)`. They end with the test."""
    bridges: list[Bridge] = []

    def start(command: str | None = None, **settings: str) -> Bridge:
        bridge = Bridge(tmp_path / f"bridge-{len(bridges)}.log", settings, command)
        bridges.append(bridge)
        return bridge

    yield start
    for bridge in bridges:
        bridge.end()
        print(f"{bridge.log_file.name}:\n{bridge.log_file.read_text()[-3000:]}")  # shown where the test has failed


@pytest.fixture
def spawned() -> Iterator[Callable[..., SpawnProcess]]:
    """Starts functions in processes of their own: `spawned(write, folder)`. They end with the test, however it went."""
    processes: list[SpawnProcess] = []

    def start(target: Callable[..., None], *arguments: object) -> SpawnProcess:
        processes.append(multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True))
        processes[-1].start()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.join(10)


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each stream in turn, nobody else's, that the test may stop."""
    if request.param == "redis":
        return RedisStore(request.getfixturevalue("own_redis"))
    if request.param == "kafka":
        return KafkaStore(request.getfixturevalue("own_kafka"))
    return SqliteStore(tmp_path)
