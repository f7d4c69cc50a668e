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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.broken.mutations import MUTATIONS, Change, Mutation
from tests.broken.simulated import seeds_until_found, worlds
from tests.support.servers.debian import ROOT

PATIENCE = 2700
"""Seconds that a run may take: of all tests that are named, without a change, it is many minutes."""
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
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="guards that are broken at a time")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    if not chosen:
        parser.error(f"no guard has {options.only!r} in its name")
    with tempfile.TemporaryDirectory(prefix="celery-event-bridge-broken-") as name:
        copies = [Path(name, str(number)) for number in range(1 if options.simulate else options.jobs)]
        for copy in copies:
            copy_files(copy)
        if options.simulate:
            return simulate(copies[0], chosen)
        print("without a change:", flush=True)
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        good = passes(copies[0], tests, "-n", str(options.jobs))
        print("  the tests pass" if good else "  a test fails: nothing can be said", flush=True)
        return int(not (good and all_noticed(copies, chosen, campaigns=options.campaigns)))


def all_noticed(copies: Sequence[Path], chosen: Sequence[Mutation], *, campaigns: bool) -> bool:
    """Break each in the next copy that is free, and print what was seen; whether all was noticed."""
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def broken(mutation: Mutation) -> tuple[bool, list[str]]:
        copy = free.get()
        try:
            with_changes(copy, mutation.changes)
            return is_noticed(copy, mutation, campaigns=campaigns)
        except (RuntimeError, subprocess.TimeoutExpired) as exc:
            return False, [f"  NO ANSWER: {exc}"]
        finally:
            for change in mutation.changes:
                shutil.copy(ROOT / change.file, copy / change.file)
            free.put(copy)

    good = True
    with ThreadPoolExecutor(len(copies)) as pool:
        for mutation, (noticed, lines) in zip(chosen, pool.map(broken, chosen), strict=True):
            print("\n".join([f"{mutation.name}:", *lines]), flush=True)
            good &= noticed
    return good


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


def is_noticed(copy: Path, mutation: Mutation, *, campaigns: bool) -> tuple[bool, list[str]]:
    """Whether each of its tests fails, and the oracle reports what it should; and the lines that say so."""
    noticed, lines = True, []
    for test in mutation.tests:
        failed = not passes(copy, [test])
        lines.append(f"  {'noticed by' if failed else 'NOT NOTICED by'} {test}")
        noticed &= failed
    if campaigns and mutation.campaign:
        verdict = played(copy, *mutation.campaign)
        found = re.search(rf"\b{mutation.figure} (\d+)", verdict)
        reported = found is not None and int(found[1]) > 0
        lines.append(f"  {'the oracle reports' if reported else 'THE ORACLE DOES NOT REPORT IT'}: {verdict}")
        noticed &= reported
    return noticed, lines


def passes(copy: Path, tests: Sequence[str], *options: str) -> bool:
    """Whether these pass. Raises RuntimeError if they cannot be run, or all are skipped."""
    done = run(copy, "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, *tests)
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
        timeout=PATIENCE,
    )


if __name__ == "__main__":
    sys.exit(main())
