"""What the documents print for a shell runs: each page's blocks are typed in order, on real servers.

Those that name Kafka are in a file of their own, so that of several processes one starts its node. All of them take ten
minutes of two cores: `make pages` types them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.servers.debian import ROOT, until
from tests.support.servers.redis import NativeRedis
from tests.support.stores import at_full_length
from tests.support.terminal.page import Page
from tests.support.terminal.pages import blocks
from tests.support.terminal.steps import (
    audited,
    backed_up,
    clone,
    filled,
    kept_off,
    package,
    parked,
    quiet,
    silent,
    spoiled,
    stored,
    waiting,
)
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.world import World

pytestmark = pytest.mark.timeout(1200)

PAGES = [
    Page("README.md", clone, stored),
    Page("docs/how-to/install.md", clone),
    Page("docs/how-to/tail.md", filled, backed_up("backup/events.db")),
    Page("docs/how-to/parked-messages.md", parked, at={"rejected purge": waiting}),
    Page("docs/how-to/personal-data.md"),
    Page("docs/how-to/queues.md", quiet, at={"rabbitmqctl": spoiled, "BRIDGE_DECLARE=false": kept_off}),
    Page("docs/how-to/several-brokers.md", at={"rabbitmq-us": silent, "tail": audited}),
    Page("docs/how-to/write-a-sink.md", package),
]


@at_full_length
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Page, world: World, terminal: Terminal, packages: Path) -> None:
    """Each block that is typed into a shell ends well, in the order of the page."""
    terminal.run(f"export PYTHONPATH={packages}")
    page.type(world, terminal)


@at_full_length
def test_the_sink_of_the_page_holds_what_a_sink_has_to(world: World, terminal: Terminal) -> None:
    """Its tests are a page's, too."""
    for block in blocks(ROOT / "docs/how-to/write-a-sink.md"):
        if block.language == "python" and (name := re.match(r'"""(\w+\.py)', block.text)):
            (terminal.folder / name[1]).write_text(block.text)
    terminal.run(f"PYTHONPATH=. {sys.executable} -m pytest -q -p no:cacheprovider test_json_lines.py")


@at_full_length
def test_a_snapshot_of_redis_is_restored_as_the_page_says(world: World, terminal: Terminal) -> None:
    """Without the append-only file at its first start, with it from then on: each entry is there, and stays."""
    with world.redis.client() as client:
        for number in range(10):
            client.xadd("celery-events", {"n": number})
        entries = client.xrange("celery-events")
    (block,) = [one for one in blocks(ROOT / "docs/how-to/operate.md") if "--rdb" in one.text]
    terminal.type(block)
    options = ("--dir", str(terminal.folder), "--dbfilename", "redis-backup.rdb")
    server = NativeRedis(*options)
    try:
        server.start("--appendonly", "no")
        with server.client() as client:
            client.config_set("appendonly", "yes")
            until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, 30, "the file is written")
        server.start()
        with server.client() as client:
            assert entries == client.xrange("celery-events")
    finally:
        server.remove()
