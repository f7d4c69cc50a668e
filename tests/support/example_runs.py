"""Runs of the examples: the tasks that their workers have done, and what an example has printed."""

from __future__ import annotations

from pathlib import Path

TASKS = 400


def lines(folder: Path, number: int = 0) -> list[str]:
    return (folder / f"output-{number}").read_text().splitlines()
