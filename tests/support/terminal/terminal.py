"""A shell as a reader of the documents has it: a folder, an environment that lasts, programs on its path."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.bridges import clean_environment, dying_with_us
from tests.support.servers.debian import PATIENCE, ROOT
from tests.support.terminal import typed_at
from tests.support.terminal.pages import Block

LONGEST = 60.0
"""Seconds for a block, on a machine with nothing else to do."""
KEEP = 'declare -px > "$TYPED_STATE/environment"; pwd > "$TYPED_STATE/folder"'


class Terminal:
    """Types blocks, one after the other."""

    def __init__(self, folder: Path, replaced: Sequence[tuple[str, str]] = (), **environment: str) -> None:
        """With patterns of texts in the pages and what they are here, such as addresses of servers, in that order."""
        self.folder = folder
        self.replaced = [*replaced]
        self._state = folder / ".state"
        self._programs = folder / ".programs"
        self._typed: list[subprocess.Popen[bytes]] = []
        for one in (self._state, self._programs):
            one.mkdir(parents=True, exist_ok=True)
        (self._state / "folder").write_text(str(folder))
        (self._state / "environment").write_text("")
        for name in ("celery-event-bridge", "celery"):
            self.program(name, f'exec {sys.executable} {typed_at} {name} "$@"')
        path = f"{self._programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = clean_environment() | {
            "PATH": path,
            "HOME": str(folder),
            "C_FORCE_ROOT": "1",
            "PYTHONWARNINGS": "ignore",
            "TYPED_STATE": str(self._state),
            "TYPED_DEADLINE": str(30 * PATIENCE),
            "TYPED_BRIDGE": f"{sys.executable} -m celery_event_bridge",
            **environment,
        }

    def program(self, name: str, script: str) -> None:
        """Put a program of that name on the path: lines of a shell."""
        file = self._programs / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    def here(self, text: str) -> str:
        """Return a text of a page with the addresses of here."""
        for old, new in self.replaced:
            text = re.sub(old, lambda _, new=new: new, text)
        return text

    def type(self, block: Block, *, timeout: float = LONGEST) -> str:
        """Run a block to its end, and return what it has printed. Fails where a command of it does."""
        return self.run(self.here(block.commands), block.name, timeout=timeout)

    def run(self, text: str, name: str = "the test's own", *, timeout: float = LONGEST) -> str:
        """Run lines of a shell in the folder and with the environment of those before."""
        script = 'set -euo pipefail\n. "$TYPED_STATE/environment"\ncd "$(cat "$TYPED_STATE/folder")"\n'
        script += f"trap {shlex.quote(KEEP)} EXIT\n{text}\n"
        log = self._state / "typed.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                dying_with_us(["bash", "-c", script]),
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._typed.append(process)
            try:
                code: int | None = process.wait(timeout * PATIENCE)
            except subprocess.TimeoutExpired:
                code = None
        printed = log.read_text(errors="replace")
        assert code == 0, f"{name} ended with {code}:\n{text}\n--- printed:\n{printed[-4000:]}"
        return printed

    def stop(self, name: str = "") -> None:
        """Stop what goes on in the background, or what of it begins so, as by Ctrl-C; it has to end well."""
        done = subprocess.run(
            [sys.executable, str(typed_at), "--stop", name], env=self._environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def end(self) -> None:
        """Kill whatever is left."""
        for process in self._typed:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
