"""Bridges as processes of their own, started as an operator does: `celery_event_bridge run` with `BRIDGE_*` set."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.servers.debian import PATIENCE, ROOT, until

SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def clean_environment() -> dict[str, str]:
    """Ours without any setting of a bridge."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("BRIDGE_", "CELERY_"))}


def run_to_end(module: str, *arguments: str, timeout: float = 60, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments` with these variables set, and what it printed.

    `timeout` is in seconds of a machine with nothing else to do.
    """
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=clean_environment() | settings,
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        stdin=subprocess.DEVNULL,
    )


def die_with_parent() -> None:
    """Let the kernel end this process when its parent is gone, however that went."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def dying_with_us(command: Sequence[str]) -> list[str]:
    """That command, which the kernel ends when this process is gone, however it went.

    By a program, since Python code between fork and exec is not safe beside threads, which clients of Kafka have.
    Where there is none, as on macOS, what a killed test run has started lives on.
    """
    tied = [found, "--pdeathsig", "KILL", "--"] if (found := shutil.which("setpriv")) else []
    return [*tied, *command]


class Bridge:
    """One bridge process; what it logs goes to a file."""

    def __init__(self, log: Path, settings: Mapping[str, str], command: str | None = None) -> None:
        self.log_file = log
        environment = clean_environment() | {"BRIDGE_HTTP": "127.0.0.1:0", "BRIDGE_LOG_FORMAT": "json"} | dict(settings)
        arguments = shlex.split(command) if command else [sys.executable, "-m", "celery_event_bridge", "run"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                dying_with_us(arguments),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def log(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is no JSON is an event of its own."""
        lines = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            lines.append(entry if isinstance(entry, dict) else {"event": line, "level": "raw"})
        return lines

    def logged(self, text: str) -> list[dict[str, Any]]:
        """The lines whose event contains the text."""
        return [line for line in self.log() if text in str(line.get("event", ""))]

    def await_log(self, text: str, timeout: float = 20) -> dict[str, Any]:
        """The first line whose event contains the text."""
        until(lambda: self.logged(text) or self.process.poll() is not None, timeout, f"the bridge logs {text!r}")
        assert self.logged(text), f"ended with {self.process.returncode}: {self.log()}"
        return self.logged(text)[0]

    @cached_property
    def address(self) -> str:
        return str(self.await_log("started")["http"])

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def await_ready(self, timeout: float = 30) -> Bridge:
        """Wait until it is connected to both ends."""
        until(self._ready_or_over, timeout, "the bridge is ready")
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log()}"
        return self

    def _ready_or_over(self) -> bool:
        if self.process.poll() is not None:
            return True
        code, text = self.get("/readyz")
        assert code == 200, text
        return True

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that carry the labels."""
        total = 0.0
        for found, text, value in SERIES.findall(self.get("/metrics")[1]):
            if found == f"celery_bridge_{name}" and all(f'{key}="{wanted}"' in text for key, wanted in labels.items()):
                total += float(value)
        return total

    def rss_bytes(self) -> int:
        """Its resident memory now; 0 once it has ended."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int((re.findall(r"VmRSS:\s+(\d+)", status) or ["0"])[0])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(60)

    def stop(self, timeout: float = 40) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.kill()
