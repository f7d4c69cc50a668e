"""The command line, which interrupts itself after 1,000 audited events: `python -m tests.support.interrupted audit`."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.cli import main

_add, _count = Auditor.add, 0


def _interrupting(self: Auditor, record: Any) -> None:
    global _count  # noqa: PLW0603
    _count += 1
    if _count == 1000:
        os.kill(os.getpid(), signal.SIGINT)
    _add(self, record)


if __name__ == "__main__":
    Auditor.add = _interrupting  # type: ignore[method-assign]
    main()
