"""Programs as a reader of the documents types them, in place of those of these names.

What would go on for ever is stopped as by Ctrl-C once it has shown what the page says, or goes on as in another
terminal: `run` and `celery worker` return once they work, and are stopped with the page, or when the next `run` wants
the same address. Started as a script by its path, with the program's name first: it imports nothing of the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STATE = Path(os.environ["TYPED_STATE"])
"""Folder of what goes on: of each its process's id, its log and, once it has ended, its exit code."""
DEADLINE = float(os.environ.get("TYPED_DEADLINE", "120"))


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it, or end with a line that says what has not come."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {DEADLINE:g} s still not: {what}")
        time.sleep(0.1)


def go_on(name: str, command: list[str], seen: Callable[[str], bool]) -> None:
    """Start it as in another terminal, and return once its log has what was waited for."""
    stop(name)
    log, code = STATE / f"{name}.log", STATE / f"{name}.code"
    with log.open("wb") as output:
        arguments = [sys.executable, __file__, "--supervise", name, *command]
        subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    until(lambda: code.exists() or seen(log.read_text(errors="replace")), f"{name} works:\n{tail(log)}")
    print(tail(log))
    if code.exists():
        raise SystemExit(int(code.read_text()) or 1)


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def supervise(name: str, command: list[str]) -> None:
    """Start it, and keep its exit code."""
    process = subprocess.Popen(command)
    put(STATE / f"{name}.pid", process.pid)
    put(STATE / f"{name}.code", process.wait())
    (STATE / f"{name}.pid").unlink()


def put(file: Path, number: int) -> None:
    """Write it in one step: others wait for the file to be there, and read it then."""
    part = file.with_suffix(".part")
    part.write_text(str(number))
    part.rename(file)


def stop(name: str) -> None:
    """Stop what goes on under that name, as by Ctrl-C: a bridge has to end with 0."""
    pid, code = STATE / f"{name}.pid", STATE / f"{name}.code"
    if pid.exists():
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int(pid.read_text()), signal.SIGINT)
        until(lambda: not pid.exists(), f"{name} has ended:\n{tail(STATE / f'{name}.log')}")
        if name.startswith("run") and code.read_text() != "0":
            raise SystemExit(f"{name} ended with {code.read_text()}:\n{tail(STATE / f'{name}.log')}")
    code.unlink(missing_ok=True)


def interrupted(command: list[str], *, address: str | None) -> None:
    """Run it until it has printed a line, or serves metrics, then stop it as by Ctrl-C."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if address is None:
        line = process.stdout.readline()
    else:
        until(lambda: process.poll() is not None or serves(address), f"{command} serves metrics at {address}")
        line = b""
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=DEADLINE)
    sys.stdout.buffer.write(line + rest)
    if process.returncode not in (0, 130) or not (line or address):
        raise SystemExit(process.returncode or 1)


def serves(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def value(arguments: list[str], option: str, left_out: str) -> str:
    return arguments[arguments.index(option) + 1] if option in arguments else left_out


def bridge(arguments: list[str]) -> None:
    """`celery-event-bridge`."""
    real = [*os.environ["TYPED_BRIDGE"].split(), *arguments]
    command = arguments[0] if arguments else ""
    if "--help" in arguments:
        os.execvp(real[0], real)
    if command == "run":
        address = value(arguments, "--http", os.environ.get("BRIDGE_HTTP", "127.0.0.1:9810"))
        wanted = "first events are stored" if os.environ.get("TYPED_TRAFFIC") else "consuming"
        go_on(f"run-{address.rpartition(':')[2]}", real, lambda log: wanted in log)
    elif command == "audit" and "--follow" in arguments:
        interrupted(real, address=value(arguments, "--http", os.environ.get("BRIDGE_HTTP", "127.0.0.1:9810")))
    elif (command == "tail" and "--follow" in arguments) or (command == "tap" and "-n" not in arguments):
        interrupted(real, address=None)
    else:
        os.execvp(real[0], real)


def celery(arguments: list[str]) -> None:
    """`celery`."""
    real = [sys.executable, "-m", "celery", *arguments]
    if "worker" in arguments:
        go_on("worker", real, lambda log: "[queues]" in log)
    else:
        os.execvp(real[0], real)


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "--supervise":
        supervise(rest[0], rest[1:])
    elif name == "--stop":
        for pid in sorted(STATE.glob(f"{rest[0]}*.pid")):
            stop(pid.stem)
    else:
        {"celery-event-bridge": bridge, "celery": celery}[name](rest)
