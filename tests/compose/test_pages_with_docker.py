"""What the documents print for Docker runs, on a Docker engine: `make containers`, which `make test` does not call."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ServerMissing, containers
from tests.support.servers.debian import ROOT, free_port, program
from tests.support.terminal.pages import shell_blocks
from tests.support.terminal.terminal import Terminal

pytestmark = pytest.mark.timeout(1200)

PAGES = ("README.md", "docs/how-to/containers.md", "docs/how-to/install.md")
BUILT_OF = ("bridge", "sinks", "examples", "requirements", "containers", "pyproject.toml", "README.md", "LICENSE")
BUILT_BY = ("Dockerfile", ".dockerignore", ".env.sample", "docker-compose.yml")
ENDLESS = """
typed=("$@")
case " $* " in
    *" compose "*" up "*" -d "*) ;;
    *" compose "*" up "*) typed+=(-d --wait) ;;
    *" logs -f "*) typed=(); for word in "$@"; do [ "$word" = -f ] || typed+=("$word"); done ;;
esac
exec {docker} "${{typed[@]}}"
"""
"""What would go on for ever returns once it works: in the background, or with what was logged."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A clone, and Docker, whose containers have ports and a name of their own."""
    if not containers.engine():
        raise ServerMissing("no Docker engine answers: install Docker and start it")
    for name in (*BUILT_OF, *BUILT_BY):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    ports = {f"{name}_PORT": str(free_port()) for name in ("RABBITMQ", "KAFKA", "REDIS", "REDIS_BROKER")}
    name = f"pages-{free_port()}"
    home = os.environ.get("HOME", "/root")  # where Docker's plug-ins are
    opened = Terminal(tmp_path, [(r"localhost:9094", f"localhost:{ports['KAFKA_PORT']}")], HOME=home, **ports)
    opened.run(f"export COMPOSE_PROJECT_NAME={name}")
    opened.program("docker", ENDLESS.format(docker=shutil.which("docker")))
    opened.program("kcat", f'exec {program("kcat", "kcat")} "$@" -c 5')
    yield opened
    opened.run("docker compose --profile demo --profile redis-demo down --volumes --timeout 1", timeout=60)
    opened.end()


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_for_docker_run(page: str, terminal: Terminal) -> None:
    """Each ends well, in the order of the page, with nothing but what the page has made."""
    for block in shell_blocks(ROOT / page):
        if block.needs_docker and not block.not_run:
            terminal.type(block, timeout=150)
