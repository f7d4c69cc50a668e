"""The environment of the contender that is none of the product's or the tests' requirements."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from functools import cache

from tests.support.servers import ServerMissing
from tests.support.servers.debian import ROOT

FOLDER = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "requirements/bench.txt"


@cache
def mq_bridge_python() -> str:
    """The Python that has mq-bridge; made on first use. Raises ServerMissing where it cannot be had."""
    python = FOLDER / "bin/python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    ready = FOLDER / ".ready"
    if not ready.exists() or ready.read_text() != wanted:
        print("installing the benchmark's other contender", file=sys.stderr, flush=True)
        install = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--require-hashes"]
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
            [str(python), *install, "-r", str(REQUIREMENTS)],
        ]
        with tempfile.TemporaryFile("w+") as output:
            for command in commands:
                if subprocess.run(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL).returncode:
                    output.seek(0)
                    raise ServerMissing(f"no mq-bridge here: {output.read()[-300:].strip()}")
        ready.write_text(wanted)
    return str(python)


def mq_bridge_version() -> str:
    """As its own package says."""
    code = "import mq_bridge; print(mq_bridge.__version__)"
    return subprocess.run([mq_bridge_python(), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
