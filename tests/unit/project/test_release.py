"""The release workflow: what it runs is there, and what it runs of others is pinned."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKFLOW = (ROOT / ".github/workflows/release.yml").read_text()
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def test_an_action_is_pinned_by_its_commit_or_says_why_not() -> None:
    """Each names a commit, and the version behind it; the one that does not has a comment above."""
    lines = WORKFLOW.splitlines()
    used = [(number, line) for number, line in enumerate(lines) if "uses: " in line]
    assert len(used) > 8
    assert [] == [line for number, line in used if not PINNED.search(line) and "# By its" not in lines[number - 1]]
    commits: dict[str, set[str]] = {}
    for action, commit in re.findall(r"uses: ([\w/-]+)@(\w+)", WORKFLOW):
        commits.setdefault(action, set()).add(commit)
    assert {} == {action: found for action, found in commits.items() if len(found) > 1}


def test_what_a_release_runs_is_there() -> None:
    """The targets of make, the files, and the line that has the version."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"wheel"} == set(re.findall(r"run: make ([a-z-]+)", WORKFLOW))
    assert {"wheel"} <= targets
    for name in (".ci/run", "requirements/run.txt", "bridge/celery_event_bridge/version.py", "Dockerfile"):
        assert (ROOT / name).exists(), name
    (wanted,) = re.findall(r"sed -nE 's/(.*?)/\\1/p'", WORKFLOW)
    version = (ROOT / "bridge/celery_event_bridge/version.py").read_text()
    assert re.search(wanted, version, re.MULTILINE)


def test_a_release_may_do_nothing_that_a_step_does_not_need() -> None:
    """No right for the whole of it, and each job names its own."""
    assert "\npermissions: {}\n" in WORKFLOW
    jobs = re.findall(r"^  (\w+):$", WORKFLOW.partition("\njobs:\n")[2], re.MULTILINE)
    assert ["checked", "wheel", "image", "published"] == jobs
    assert len(jobs) == WORKFLOW.count("\n    permissions:\n")
