"""Other releases of Debian in folders, for the servers that they package; kept in the user's cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.debian import ServerMissing, program
from tests.support.servers.kafka_files import cache

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""As good for every release since; the newest have none of their own in an older debootstrap."""
# The mounts are seen in there only, and are gone with the last process. /tmp is where the servers' files are.
ENTER = """
for folder in proc dev tmp; do mount --rbind "/$folder" "$0/$folder"; done
exec chroot "$0" "$@"
"""


def inside(release: str, package: str) -> Sequence[str]:
    """What to put before a command that runs in that release with that package. Raises ServerMissing."""
    folder = cache() / f"debian-{release}-{package}"
    if not folder.exists():
        _make(folder, release, package)
    # The newest releases make none, and Erlang's port mapper asks for `localhost`.
    if not (hosts := folder / "etc/hosts").exists():
        hosts.write_text("127.0.0.1\tlocalhost\n")
    return ["unshare", "--mount", "sh", "-e", "-c", ENTER, str(folder)]


def mirror() -> str:
    """The one that this machine uses. Raises ServerMissing."""
    found = re.findall(r"^URIs: *(\S+)$", SOURCES.read_text(), re.MULTILINE) if SOURCES.exists() else []
    if not found:
        raise ServerMissing(f"another release of Debian needs a Debian with {SOURCES}")
    return str(found[0])


def _make(folder: Path, release: str, package: str) -> None:
    command = [program("debootstrap", "debootstrap"), "--variant=minbase", f"--include={package}", release]
    print(f"making a Debian {release} with {package}, about 500 MB", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Moved there in one step, so that what is there is whole.
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        made = Path(name) / release
        done = subprocess.run(
            [*command, str(made), mirror(), SCRIPT], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise ServerMissing(f"debootstrap failed: {done.stdout[-300:].strip()}")
        shutil.rmtree(made / "var/cache/apt/archives", ignore_errors=True)
        made.rename(folder)
