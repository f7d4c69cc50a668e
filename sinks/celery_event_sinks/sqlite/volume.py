"""Volume of a container: in our image, only what lies on one is kept."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE = "CELERY_EVENT_BRIDGE_IMAGE"
"""Variable that our image sets, and nobody else."""


def refusal(path: Path) -> str:
    """Return why a file of that name would be gone with the container, and what to do; else an empty text."""
    if not os.environ.get(IMAGE) or not _is_the_containers_own(path):
        return ""
    return (
        f"BRIDGE_SQLITE_PATH={path}: this is no volume, and all that is stored there would be gone with the container: "
        f"mount one (docker run --volume bridge:{path.parent} ...), or choose another stream, as with BRIDGE_SINK=kafka"
    )


def _is_the_containers_own(path: Path) -> bool:
    """Return whether it lies on the file system that the container was started with; a mount is another one."""
    real = Path(os.path.realpath(path))
    there = next((each for each in (real, *real.parents) if os.path.exists(each)), Path("/"))  # noqa: PTH110 - a closed one is none
    return there.stat().st_dev == Path("/").stat().st_dev
