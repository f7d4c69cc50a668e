"""RabbitMQ: given by its address, or a node of our own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

import amqp

from tests.support.servers.debian import Child, ServerMissing, free_port, program, until
from tests.support.servers.releases import inside

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""The script itself: Debian's wrapper changes to a user that may not read a temporary folder of ours."""
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
PACKAGE = "rabbitmq-server"
QUEUES = ("celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected")
TICKING = "[{rabbit, [{quorum_tick_interval, 500}]}].\n"
"""Milliseconds after which a quorum queue tells of itself again: five seconds else, and the management API a second
look later."""
AT_ONCE = 10
"""Vhosts that are made with one command: `rabbitmqctl` takes a second for each, and a vhost some milliseconds."""


class RabbitMQ(Protocol):
    """What tests and the demo may ask of it."""

    def start(self) -> None:
        """Start the node and wait until it takes connections."""

    def url(self, vhost: str = "/") -> str:
        """The URL of a vhost."""

    def new_vhost(self) -> str:
        """The URL of a vhost with nothing in it."""

    def remove_vhosts(self) -> None:
        """Remove those that earlier tests have had: what is left in them expires, and is counted, at any time."""

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints. Takes about a second."""

    def kill(self) -> None:
        """SIGKILL to the node."""

    def await_queues_on_disk(self, url: str, queues: int) -> None:
        """Make sure that a killed node would know its quorum queues again, that many of the vhost's at least.

        It writes the names of their logs every five seconds only (seen with 3.10.8), and without its name a queue comes
        back empty and dead. So does one that was deleted and made anew under its name.
        """

    def disk_bytes(self) -> int:
        """What the node's data takes on the disk."""

    def remove(self) -> None:
        """End it and remove its data."""


QUIETLY = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""Schedulers that sleep where there is nothing to do: they spin for a while else, and a run has several nodes."""


def amqp_url(host: str, port: int, vhost: str, user: str = "guest", password: str = "guest") -> str:
    return f"amqp://{user}:{password}@{host}:{port}/{quote(vhost, safe='')}"


def new_vhosts(ctl: Callable[..., str]) -> list[str]:
    """The names of vhosts with nothing in them, in which a guest may do everything."""
    names = [f"v{uuid.uuid4().hex[:8]}" for _ in range(AT_ONCE)]
    listed = ", ".join(f'<<"{name}">>' for name in names)
    rights = '<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"guest">>'
    each = f'rabbit_vhost:add(Name, <<"guest">>), rabbit_auth_backend_internal:set_permissions({rights})'
    ctl("eval", f"[begin {each} end || Name <- [{listed}]], ok.")
    return names


def can_connect(url: str) -> bool:
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=parts.username or "guest",
        password=parts.password or "guest",
        connect_timeout=2,
        read_timeout=5,
    )
    connection.connect()
    connection.close()
    return True


class NativeRabbitMQ:
    """A node of Debian's package, in a temporary folder, with a port mapper of its own."""

    def __init__(
        self,
        config: str = "",
        first: NativeRabbitMQ | None = None,
        release: str = "",
        *,
        managed: bool = False,
        feature_flags: str = "",
        plugins: Sequence[str] = ("rabbitmq_consistent_hash_exchange",),
    ) -> None:
        """With `first` it joins that node's cluster when it starts; with `release` it is that Debian's; `managed` has
        the management API, at `management_url`; `feature_flags` are on, and no others, as after an upgrade; `plugins`
        are enabled.
        """
        management_port = free_port() if managed else 0
        self.management_url = f"http://guest:guest@127.0.0.1:{management_port}"
        if managed:
            config += f"\nmanagement.tcp.port = {management_port}\nmanagement.tcp.ip = 127.0.0.1\n"
            config += "collect_statistics_interval = 1000\n"  # five seconds else, in which its answers are old
        self._inside = inside(release, PACKAGE) if release else ()
        self._server = SERVER if release else program(SERVER, PACKAGE)
        self._folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        (self._folder / "rabbitmq.conf").write_text(config)
        (self._folder / "advanced.config").write_text(TICKING if managed else "[].\n")
        names = [*plugins, *(["rabbitmq_management"] if managed else [])]
        (self._folder / "plugins").write_text(f"[{', '.join(names)}].")
        self.port = free_port()
        self._first = first
        self.name = f"t{uuid.uuid4().hex[:8]}@localhost"
        shared = {"HOME": str(self._folder), "ERL_EPMD_PORT": str(free_port())}  # there is Erlang's cookie
        if first is not None:
            shared = {name: first._environment[name] for name in shared}
        self._mapper: Child | None = None
        self._environment = {
            **shared,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": QUIETLY,
            "RABBITMQ_CTL_ERL_ARGS": QUIETLY,
            "LC_ALL": "C.UTF-8",
            "ERL_CRASH_DUMP_SECONDS": "0",  # else of a tool that fails, in the current directory
        }
        if feature_flags:
            self._environment["RABBITMQ_FEATURE_FLAGS"] = feature_flags
        self._child: Child | None = None
        self._vhosts: list[str] = []

    def start(self) -> None:
        if self._child is not None:
            self._child.end()
        if self._first is None and self._mapper is None:
            # Erlang's port mapper, which would be started by a node and end with it.
            mapper = "epmd" if self._inside else program("epmd", "erlang-base")
            self._mapper = Child([*self._inside, mapper], self._environment, self._folder / "mapper")
        joining = self._first is not None and self._child is None
        self._child = child = Child([*self._inside, self._server], self._environment, self._folder / "output")

        def answers() -> bool:
            if not child.running:
                raise ServerMissing(f"RabbitMQ ended at its start: {child.tail()}")
            return can_connect(self.url())

        until(answers, 60, "RabbitMQ takes connections")
        if joining and self._first is not None:
            for command in (["stop_app"], ["join_cluster", self._first.name], ["start_app"]):
                self.ctl(*command)
            until(answers, 60, "RabbitMQ takes connections")

    def enable(self, plugin: str) -> None:
        """Enable a plug-in while the node runs."""
        command = [*self._inside, f"{CONTROL.removesuffix('ctl')}-plugins", "--quiet", "enable", plugin]
        done = subprocess.run(command, env=os.environ | self._environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr or done.stdout

    def url(self, vhost: str = "/") -> str:
        return amqp_url("127.0.0.1", self.port, vhost)

    def new_vhost(self) -> str:
        self._vhosts = self._vhosts or new_vhosts(self.ctl)
        return self.url(self._vhosts.pop())

    def remove_vhosts(self) -> None:
        removed = 'rabbit_vhost:delete(Name, <<"guest">>) || Name <- rabbit_vhost:list_names(), Name =/= <<"/">>'
        self.ctl("eval", f"[{removed}], ok.")
        self._vhosts = []

    def ctl(self, *arguments: str) -> str:
        if arguments[0] == "eval" and not self._inside and (caller := shutil.which("erl_call")):
            return self._evaluated(caller, arguments[1])
        done = subprocess.run(
            [*self._inside, CONTROL, "--quiet", *arguments],
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stderr or done.stdout}"
        return done.stdout

    def control(self) -> str:
        """A line of a shell that is this node's `rabbitmqctl`."""
        variables = [f"{name}={text}" for name, text in self._environment.items()]
        return shlex.join(["env", *variables, *self._inside, CONTROL])

    def _evaluated(self, caller: str, expression: str) -> str:
        """Ask the node itself, in milliseconds: `rabbitmqctl` takes a second or two of one core."""
        cookie = (Path(self._environment["HOME"]) / ".erlang.cookie").read_text()
        done = subprocess.run(
            [caller, "-n", self.name, "-c", cookie, "-R", "-e"],
            input=f"{expression}\n",
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.stdout.startswith("{ok, "), f"{expression}: {done.stdout}{done.stderr}"
        return done.stdout.removeprefix("{ok, ").removesuffix("}")

    def kill(self) -> None:
        assert self._child is not None
        self._child.signal(signal.SIGKILL, "beam.smp")
        until(lambda: not self._child or not self._child.running, 20, "the node is gone")

    def await_queues_on_disk(self, url: str, queues: int) -> None:
        self.ctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()], ok.")
        vhost = unquote(urlsplit(url).path[1:]).encode()
        names = list((self._folder / "data").glob("*/quorum/*/names.dets"))
        until(
            lambda: all(file.read_bytes().count(vhost) >= queues for file in names), 20, "the queues' names are on disk"
        )

    def disk_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self._folder / "data").rglob("*") if file.is_file())

    def remove(self) -> None:
        for child in (self._child, self._mapper):
            if child is not None:
                child.end()
        shutil.rmtree(self._folder, ignore_errors=True)


class GivenRabbitMQ:
    """Somebody's, by its address: our queues in it are emptied, and it is neither stopped nor looked into."""

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self) -> None:
        """It runs."""

    def url(self, vhost: str = "/") -> str:
        return self._url

    def new_vhost(self) -> str:
        parts = urlsplit(self._url)
        connection = amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}",
            userid=parts.username or "guest",
            password=parts.password or "guest",
            virtual_host=parts.path[1:] or "/",
        )
        connection.connect()
        for queue in QUEUES:
            connection.channel().queue_delete(queue)
        connection.close()
        return self._url

    def remove_vhosts(self) -> None:
        """They are not ours."""

    def ctl(self, *arguments: str) -> str:
        raise ServerMissing(f"rabbitmqctl {' '.join(arguments)}: not on a server given by TEST_RABBITMQ_URL")

    def kill(self) -> None:
        raise ServerMissing("a server given by TEST_RABBITMQ_URL is not killed")

    def await_queues_on_disk(self, url: str, queues: int) -> None:
        """It is not killed."""

    def disk_bytes(self) -> int:
        raise ServerMissing("the disk of a server given by TEST_RABBITMQ_URL cannot be seen")

    def remove(self) -> None:
        """It is not ours."""
