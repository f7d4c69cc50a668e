"""Break each guard on purpose, in a copy, and see that its tests notice: `python -m tests.broken [--campaigns]`.

With `--simulate`, see which of them the simulation finds, and after how many seeds.

Exits 1 if one goes unnoticed, or if a test that has to fail does not pass in a copy without a change.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.broken.mutations import MUTATIONS, Change, Mutation
from tests.broken.simulated import seeds_until_found, worlds
from tests.support.servers.debian import ROOT

TESTS_FAILED = 1
"""Pytest's exit code. Any other but 0 is no answer: a test that could not be collected, say."""
LISTED = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
VERDICT = re.compile(r"obliged \d+, .*")


def main() -> int:
    """Break everything in turn; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.broken", description="Break each guard; see who notices.")
    parser.add_argument("--only", default="", help="a part of the names of the guards")
    parser.add_argument("--campaigns", action="store_true", help="play the faults too, under the oracle")
    parser.add_argument("--simulate", action="store_true", help="ask the simulation, and no test")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    with tempfile.TemporaryDirectory(prefix="celery-event-bridge-broken-") as name:
        copy = Path(name)
        copy_files(copy)
        if options.simulate:
            return simulate(copy, chosen)
        print("without a change:", flush=True)
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        good = passes(copy, tests)
        print("  the tests pass" if good else "  a test fails: nothing can be said", flush=True)
        for mutation in chosen if good else ():
            print(f"{mutation.name}:", flush=True)
            with_changes(copy, mutation.changes)
            good &= is_noticed(copy, mutation, campaigns=options.campaigns)
            for change in mutation.changes:
                shutil.copy(ROOT / change.file, copy / change.file)
    return int(not good)


def simulate(copy: Path, chosen: Sequence[Mutation]) -> int:
    """Print a line for each guard that runs in a simulated world; returns the exit code."""
    for mutation in chosen:
        for world in worlds(mutation):
            with_changes(copy, mutation.changes)
            count, verdict = seeds_until_found(copy, run, world)
            print(f"{mutation.name} | {world} | {'-' if count is None else f'{count:g}'} | {verdict}", flush=True)
            for change in mutation.changes:
                shutil.copy(ROOT / change.file, copy / change.file)
    return 0


def copy_files(target: Path) -> None:
    """What git knows of, and what is new."""
    listed = subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=True)
    for file in filter(None, listed.stdout.split("\0")):
        if (ROOT / file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, target / file)


def with_changes(copy: Path, changes: Iterable[Change]) -> None:
    """Raises ValueError if the text to be replaced is not there, or more than once."""
    for change in changes:
        file = copy / change.file
        text = file.read_text()
        if text.count(change.old) != 1:
            raise ValueError(f"{change.file}: {change.old!r} is there {text.count(change.old)} times")
        file.write_text(text.replace(change.old, change.new))


def is_noticed(copy: Path, mutation: Mutation, *, campaigns: bool) -> bool:
    """Whether each of its tests fails, and the oracle reports what it should."""
    noticed = True
    for test in mutation.tests:
        failed = not passes(copy, [test])
        print(f"  {'noticed by' if failed else 'NOT NOTICED by'} {test}", flush=True)
        noticed &= failed
    if campaigns and mutation.campaign:
        verdict = played(copy, *mutation.campaign)
        found = re.search(rf"\b{mutation.figure} (\d+)", verdict)
        reported = found is not None and int(found[1]) > 0
        print(f"  {'the oracle reports' if reported else 'THE ORACLE DOES NOT REPORT IT'}: {verdict}", flush=True)
        noticed &= reported
    return noticed


def passes(copy: Path, tests: Sequence[str]) -> bool:
    """Whether these pass. Raises RuntimeError if they cannot be run, or all are skipped."""
    done = run(copy, "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)
    if done.returncode not in (0, TESTS_FAILED) or not re.search(r"\d (passed|failed)", done.stdout):
        raise RuntimeError(f"{' '.join(tests)} cannot be run: {(done.stdout + done.stderr)[-500:]}")
    return done.returncode == 0


def played(copy: Path, sink: str, *cards: str) -> str:
    """The verdict of a campaign."""
    names = [word for card in cards for word in ("--card", card)]
    done = run(copy, "tests.faults", "--sink", sink, "--seed", "1", "--late", "5", *names)
    found = VERDICT.findall(done.stdout)
    return found[-1] if found else f"no verdict: {(done.stdout + done.stderr)[-500:]}"


def run(copy: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A module of the copy, and not of what is installed."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=copy,
        env=os.environ
        | {
            "CI": "true",
            "PYTHONPATH": os.pathsep.join(str(copy / part) for part in ("", "bridge", "sinks")),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=900,
    )


if __name__ == "__main__":
    sys.exit(main())
