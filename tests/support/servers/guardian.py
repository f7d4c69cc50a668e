"""Runs a server and ends it, with all that it started, as soon as whoever asked for it is gone.

`python -I -S tests/support/servers/guardian.py MARK COMMAND...`, by the standard library alone. The parent holds the
other end of standard input. When that closes, even by SIGKILL, or when the command ends, every process that carries the
mark in its environment is killed: also a daemon that has detached itself, as Erlang's port mapper does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

MARK = "CELERY_EVENT_BRIDGE_TEST_SERVER"


def family(mark: str, guardian: int) -> list[int]:
    """The ids of all that a guardian started: what carries the mark, and the sessions of its children.

    Both, since a daemon leaves the session, and Redis writes its title over its environment.
    """
    wanted = f"{MARK}={mark}".encode()
    processes = {
        int(entry.name): _parent_and_session(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    }
    sessions = {session for parent, session in processes.values() if parent == guardian}
    return [pid for pid, (_, session) in processes.items() if session in sessions or _carries(pid, wanted)]


def end(mark: str) -> None:
    """Kill all that this guardian started."""
    for pid in family(mark, os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _parent_and_session(entry: Path) -> tuple[int, int]:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0  # it has ended
    return int(fields[1]), int(fields[3])


def _carries(pid: int, wanted: bytes) -> bool:
    try:
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended, or is another user's


def main(mark: str, command: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C is for the parent, which will let go of the pipe. Not SIG_IGN, which the server would inherit.
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, env=os.environ | {MARK: mark}, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        while os.read(0, 4096):  # not by sys.stdin, whose lock the end of the interpreter would wait for
            pass
        end(mark)

    threading.Thread(target=watch, daemon=True).start()
    child.wait()
    end(mark)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
