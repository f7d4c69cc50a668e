"""Limits that the system sets to this process: a container's memory, past which the kernel kills it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

IDLE = 64 * 2**20
"""Bytes of a bridge that has been through an outage and has nothing in hand: 57 to 61 MiB were seen
(docs/decisions/0016-memory.md)."""
IN_HAND = 3
"""Memory for each byte in hand, while it is decoded, in the client of the stream and on the wire."""
NONE = 2**60
"""Bytes from which on a limit is none: version 1 of control groups has a number for it."""


def too_little(max_inflight_bytes: int, system: Path = Path("/")) -> str:
    """Return a sentence where this process may be killed for its memory, with its limit; else an empty text."""
    limit, needed = memory_limit(system), IDLE + IN_HAND * max_inflight_bytes
    if limit is None or limit >= needed:
        return ""
    return (
        f"the memory limit of this container or service is {limit >> 20} MiB, and a replica may need "
        f"{-(-needed >> 20)} MiB while the stream is away: {IDLE >> 20} MiB and {IN_HAND} times "
        "BRIDGE_MAX_INFLIGHT_BYTES; raise the limit or lower that"
    )


def memory_limit(system: Path = Path("/")) -> int | None:
    """Return the smallest limit of the control groups that this process is in, in bytes; None where there is none."""
    limits = []
    for file in _files(system):
        with suppress(OSError, ValueError):  # not there, or `max`
            limits.append(int(file.read_text()))
    return min((limit for limit in limits if limit < NONE), default=None)


def _files(system: Path) -> Iterator[Path]:
    """Yield where a limit may stand: of the group and each above it. In a container the uppermost is its own."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, name = system / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = system / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        for above in (group, *group.parents):
            yield mount / above / name
