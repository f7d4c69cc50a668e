"""Container of our image: what lies on no volume is gone with it."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE = "CELERY_EVENT_BRIDGE_IMAGE"
"""Variable that our image sets, and nobody else."""


def is_the_containers_own(path: Path) -> bool:
    """Return whether we run in our image, and that path is on the file system that the container was started with.

    A mount is another one.
    """
    return bool(os.environ.get(IMAGE)) and nearest(path).stat().st_dev == Path("/").stat().st_dev


def nearest(path: Path) -> Path:
    """Return the path, or the first folder above it that is there."""
    real = Path(os.path.realpath(path))
    return next((each for each in (real, *real.parents) if os.path.exists(each)), Path("/"))  # noqa: PTH110 - a closed one is none
