"""The quickstart without a server: its four commands, typed into an environment with nothing but the wheel."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.bridges import clean_environment, dying_with_us
from tests.support.servers.debian import ROOT, until
from tests.support.terminal.pages import blocks

SECTION = "Without a server"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel as `pip` would build it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=180)
    return next((tmp_path / "dist").glob("*.whl"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables by which a new environment finds what the wheel needs: nothing is fetched for it."""
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (tmp_path / "packages").mkdir()
    for one in site.iterdir():
        if not re.match(r"celery_event|pip\b|__pycache__|_*editable|.*\.pth$", one.name):
            (tmp_path / "packages" / one.name).symlink_to(one)
    return clean_environment() | {
        "PYTHONPATH": str(tmp_path / "packages"),
        "PIP_NO_INDEX": "1",
        "BRIDGE_HTTP": "off",
        "C_FORCE_ROOT": "1",
    }


def has_ended(file: Path) -> bool:
    """Return whether a task's success is in that file."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        try:
            return database.execute("SELECT 1 FROM events WHERE type = 'task-succeeded'").fetchone() is not None
        except sqlite3.OperationalError:  # its table is being made
            return False


def test_the_four_commands(tmp_path: Path, wheel: Path, environment: dict[str, str]) -> None:
    """The task's events come out of `tail`, though it is typed last, when the task has ended."""
    page = [block for block in blocks(ROOT / "docs/quickstart.md") if block.section == SECTION]
    [app] = [block.text for block in page if block.language == "python"]
    install, run, worker, tail = [block.text.strip() for block in page if block.is_shell]
    (tmp_path / "app.py").write_text(app)
    assert " . " in install
    subprocess.run(
        ["bash", "-ec", install.replace("install . ", f"install --quiet {wheel} ")],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=300,
    )
    script = tmp_path / "venv/bin/celery"  # Celery itself is on the path already, and so pip wrote none
    script.write_text(f'#!/bin/sh\nexec {tmp_path}/venv/bin/python -m celery "$@"\n')
    script.chmod(0o755)
    going: dict[str, subprocess.Popen[bytes]] = {}
    log = {name: tmp_path / f"{name}.log" for name in ("run", "worker", "tail")}

    def start(name: str, text: str) -> None:
        with log[name].open("wb") as output:
            going[name] = subprocess.Popen(
                dying_with_us(["bash", "-ec", text]),
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    try:
        start("run", run)
        until(lambda: "consuming" in log["run"].read_text(), 60, "the bridge consumes")
        start("worker", worker)
        until(lambda: has_ended(tmp_path / "celery-events.db"), 60, "the task's end is stored")  # as people type
        start("tail", tail)
        for word in ("task-received", "task-started", "task-succeeded"):
            until(lambda: word in log["tail"].read_text(), 60, f"{word} is printed")  # noqa: B023
    except TimeoutError as exc:
        raise AssertionError({name: path.read_text() for name, path in log.items() if path.exists()}) from exc
    finally:
        for process in going.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
