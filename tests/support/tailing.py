"""`tail` as a process."""

from __future__ import annotations

import subprocess
import sys

from tests.support.bridges import clean_environment, run_to_end
from tests.support.servers.debian import ROOT


def tail(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "tail", *arguments, **settings)


class Following:
    """`tail` as a process whose output is read by this one."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery_event_bridge", "tail", *arguments],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ended(self) -> tuple[int, str]:
        """Exit code, and what it has complained of."""
        code = self.process.wait(60)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()
