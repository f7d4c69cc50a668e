"""The scenario, top to bottom: `python -m examples.demo --broker redis --sink kafka`; exits 0 if nothing is missing."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from amqp.exceptions import AMQPError
from confluent_kafka import KafkaException
from redis import RedisError
from rich.console import Console
from rich.markup import escape

from examples.demo.brokers import FORWARDS, NAMES, Broker, broker
from examples.demo.report import Report
from examples.demo.sender import Sender
from examples.demo.streams import CannotPause, Stream, stream
from examples.demo.witness import Watching
from examples.demo.workload import Worker
from tests.support.bridges import Bridge
from tests.support.servers import ServerMissing
from tests.support.servers.debian import until

SENDING = 20.0
"""Seconds for which tasks are sent."""
PAUSE_AT = 4.5
"""Seconds into that after which the sink stands still."""
KILL_AFTER, RESUME_AFTER = 6.5, 8.5
"""Seconds into the pause. The kill falls into it when the bridges have noticed it and taken more in hand: what a
paused Redis has in its socket it still stores, so that an earlier kill would take nothing with it."""
QUIET = 6.0
"""Seconds with nothing new, in a queue or in a bridge's hands, after which the rest counts as missing: what RabbitMQ
says of its queues is up to five seconds old."""
DRAINING = 60.0
"""Seconds after which it counts as missing whatever waits."""
SETTINGS = {"BRIDGE_RETRY_MAX_INTERVAL": "2"}

FAILURES = (
    *(ServerMissing, RuntimeError, AssertionError, OSError, subprocess.SubprocessError),
    *(AMQPError, RedisError, KafkaException, sqlite3.Error),
)
"""What a server, a process or a client may end in; a timeout is an OSError."""


class Demo:
    """One run."""

    def __init__(self, console: Console, folder: Path, on: Broker, into: Stream, report: Report) -> None:
        self._console = console
        self._folder = folder
        self._broker = on
        self._stream = into
        self._report = report
        self._bridges: list[Bridge] = []
        self._counts: dict[int, tuple[float, float]] = {}
        """By bridge: messages through overflow and events forwarded, as last seen."""
        self._shown_at = 0.0

    def run(self, stack: ExitStack) -> None:
        """The whole scenario."""
        witness = self._broker.watch(self._broker.url)
        with self._step("bridges and worker up"):
            for _ in range(3):
                self._start_bridge(stack)
            for bridge in self._bridges:
                bridge.await_log("started")  # at once if it has ended, where its readiness would be waited for
                bridge.await_ready()
            until(lambda: self._broker.ready(self._bridges), 30, "a bridge forwards")
            worker = Worker(self._broker.url, self._folder / "worker.log")
            stack.callback(worker.end)
            until(lambda: worker.ended or witness.messages(), 30, "the worker publishes events")
            worker.check()
        with self._step("tasks sent", tells=True):
            self._send(stack, worker, witness)
        with self._step("worker stopped"):
            worker.stop()
        self._report.published = witness.events()
        with self._step("bridges drained", tells=True):
            self._drain(witness)
        # Before the stop, in which each that forwards hands over to the next.
        self._report.in_turn = sum(bool(bridge.logged(FORWARDS)) for bridge in self._bridges)
        with self._step("bridges stopped"):
            self._stop_bridges()
        self._report.stored = self._stream.events()
        lived = {bridge.process.pid for bridge in self._bridges if bridge.process.returncode != -signal.SIGKILL}
        self._report.expired = round(sum(expired for pid, (expired, _) in self._counts.items() if pid in lived))
        self._report.forwarded = round(sum(forwarded for _, forwarded in self._counts.values()))

    def _start_bridge(self, stack: ExitStack) -> None:
        log = self._folder / f"bridge-{len(self._bridges) + 1}.log"
        settings = {"BRIDGE_BROKER_URL": self._broker.url} | SETTINGS | self._broker.settings | self._stream.settings
        bridge = Bridge(log, settings, os.environ.get("DEMO_BRIDGE"))
        stack.callback(bridge.end)
        self._bridges.append(bridge)

    def _send(self, stack: ExitStack, worker: Worker, witness: Watching) -> None:
        sender = Sender(self._broker.url, SENDING)
        sender.start()
        start, paused_at = time.monotonic(), 0.0
        while sender.is_alive():
            elapsed = time.monotonic() - start
            paused_for = time.monotonic() - paused_at if paused_at else 0.0
            if not paused_at and not self._report.not_paused and elapsed >= PAUSE_AT:
                paused_at = self._pause()
            if not self._report.killed and paused_for >= KILL_AFTER:
                self._kill()
                self._start_bridge(stack)
            if not self._report.paused_seconds and paused_for >= RESUME_AFTER:
                self._resume(paused_for)
            self._report.overflow_depth = max(self._report.overflow_depth, witness.overflowing())
            self._progress(elapsed, sender.sent, witness.messages())
            worker.check()
            time.sleep(0.1)
        if paused_at and not self._report.paused_seconds:  # all was sent before: a slow machine
            self._resume(time.monotonic() - paused_at)
        if sender.error is not None:
            raise RuntimeError(f"sending tasks failed: {sender.error}")

    def _kill(self) -> None:
        self._count()
        place = self._broker.victim(self._bridges)
        victim = self._bridges[place]
        which = "" if self._broker.keeps else ", which forwards"
        self._say(f"SIGKILL to bridge {place + 1}, process {victim.process.pid}{which}; bridge 4 takes its place")
        victim.kill()
        self._report.killed = victim.process.returncode == -signal.SIGKILL

    def _pause(self) -> float:
        """Make the sink stand still; return when, or 0 where it cannot be done."""
        try:
            self._stream.pause()
        except CannotPause as exc:
            self._report.not_paused = str(exc)
            self._say(f"the sink goes on: {exc}")
            return 0.0
        self._say("the sink stands still")
        return time.monotonic()

    def _resume(self, paused_for: float) -> None:
        self._report.paused_seconds = paused_for
        self._stream.resume()
        self._say(f"the sink goes on after {paused_for:.1f} s")

    def _drain(self, witness: Watching) -> None:
        """Until all that was published is stored, or nothing more comes: then it will be reported as missing."""
        begin = moved_at = time.monotonic()
        while time.monotonic() - moved_at < QUIET and time.monotonic() - begin < DRAINING:
            before = len(self._report.stored)
            self._report.stored = self._stream.events()
            if not self._report.missing:
                return
            if len(self._report.stored) > before or witness.waiting() or self._in_hand():
                moved_at = time.monotonic()
            self._progress(SENDING, -1, 0)
            time.sleep(0.5)

    def _in_hand(self) -> bool:
        return any(bridge.metric("inflight_messages") for bridge in self._bridges if bridge.process.poll() is None)

    def _stop_bridges(self) -> None:
        self._count()
        for bridge in self._bridges:
            if bridge.process.poll() is None and (code := bridge.stop()):
                self._report.unclean.append(f"a bridge ended with {code}: see {bridge.log_file}")

    def _count(self) -> None:
        for bridge in self._bridges:
            if bridge.process.poll() is None:
                self._counts[bridge.process.pid] = (
                    bridge.metric("messages_expired_total"),
                    bridge.metric("events_forwarded_total"),
                )

    def _progress(self, elapsed: float, sent: int, messages: int) -> None:
        if time.monotonic() - self._shown_at < 2:
            return
        self._shown_at = time.monotonic()
        stored = self._stream.count()
        seen = f"{sent} tasks sent, {messages} messages published, " if sent >= 0 else ""
        kept = "no answer from the sink" if stored is None else f"{stored} events stored"
        self._say(f"{elapsed:4.0f} s  {seen}{kept}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=self._console.is_terminal)

    @contextmanager
    def _step(self, name: str, *, tells: bool = False) -> Iterator[None]:
        """Time it; one that `tells` says itself how far it is."""
        start = time.monotonic()
        with self._console.status(name) if tells else waiting(self._console, name):
            yield
        self._report.steps[name] = time.monotonic() - start


@contextmanager
def waiting(console: Console, name: str, every: float = 2.0) -> Iterator[None]:
    """Show what is waited for while inside: moving on a terminal, else a line every few seconds."""
    start, ended = time.monotonic(), threading.Event()

    def tell() -> None:
        while not ended.wait(every):
            console.print(f"{time.monotonic() - start:4.0f} s  {name}", highlight=False)

    if console.is_terminal:
        with console.status(name):
            yield
        return
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Lose nothing, and see it counted.")
    parser.add_argument("--sink", choices=["sqlite", "redis", "kafka"], default="sqlite")
    parser.add_argument("--broker", choices=[*NAMES], default="rabbitmq")
    asked = parser.parse_args()
    sink, name = asked.sink, NAMES[asked.broker]
    console = Console()
    start = time.monotonic()
    report = Report(sink, once=sink == "sqlite", queued=asked.broker == "rabbitmq")
    folder = Path(tempfile.mkdtemp(prefix="celery-event-bridge-demo-"))
    tempfile.tempdir = str(folder)  # where servers keep theirs, and the log of one that fails
    console.print(f"logs and data: {folder}", highlight=False, soft_wrap=True)
    try:
        with ExitStack() as stack:
            with waiting(console, f"starting the broker: {name}"):
                on = stack.enter_context(broker(asked.broker))
            with waiting(console, f"starting the stream: {sink}"):
                into = stack.enter_context(stream(sink, folder))
            report.steps["servers up"] = time.monotonic() - start
            Demo(console, folder, on, into, report).run(stack)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    except FAILURES as exc:
        console.print(f"[red]failed:[/red] {escape(str(exc))}", soft_wrap=True)
        console.print(f"logs and data: {folder}", highlight=False, soft_wrap=True)
        return 1
    report.steps["in all"] = time.monotonic() - start
    code = report.show(console, folder)
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
