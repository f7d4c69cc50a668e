"""Steps of the pages: what is done before one is typed, or before one of its blocks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

from tests.support.servers.debian import ROOT
from tests.support.terminal.page import repeated
from tests.support.terminal.pages import blocks
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.world import World

COPIED = "ATTACH 'backup.db' AS b; SELECT count(*), sum(r.id IS NULL) FROM b.events LEFT JOIN main.events r USING (id)"
JSON = "application/json"
CLONE = ("bridge", "sinks", "requirements", "pyproject.toml", "README.md", "LICENSE", "Makefile")


def clone(world: World, terminal: Terminal) -> None:
    """Have a clone of the repository in the folder."""
    for name in CLONE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, terminal.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, terminal.folder / name)


def wheel(world: World, terminal: Terminal) -> None:
    """Have the wheel that a page goes on from."""
    terminal.run(f"{sys.executable} -m hatchling build -t wheel -d dist")


def filled(world: World, terminal: Terminal) -> None:
    """Have a bridge store into each stream that is there, for long enough that an audit judges."""
    kafka = ",kafka" if world.kafka else ""
    terminal.run(f"export BRIDGE_SINK=sqlite,redis{kafka}; celery-event-bridge run")
    audited(world, terminal)


def audited(world: World, terminal: Terminal) -> None:
    """Wait until an audit has something to judge, and finds nothing."""
    terminal.run(
        "for _ in {1..100}; do celery-event-bridge audit > audit.txt && exit; sleep 1; done; cat audit.txt; exit 1"
    )


def silent(world: World, terminal: Terminal) -> None:
    """Have no worker on the broker of the next bridge."""
    terminal.run("export TYPED_TRAFFIC=")


def stored(world: World, terminal: Terminal) -> None:
    """Have some events in the file of the settings' defaults, from some time ago."""
    terminal.run("celery-event-bridge run")
    audited(world, terminal)


def backed_up(name: str) -> Callable[[World, Terminal], None]:
    """Have a copy of the file under that name."""
    return lambda world, terminal: terminal.run(f"sqlite3 celery-events.db \".backup '{name}'\"") and None


def quiet(world: World, terminal: Terminal) -> None:
    """Have a vhost without traffic: a queue that holds messages is not removed."""
    terminal.run(f"export CELERY_BROKER_URL=amqp://guest:guest@{world.broker}/quiet TYPED_TRAFFIC=")
    terminal.run(f"export BRIDGE_MANAGEMENT_URL={world.rabbitmq.management_url}")
    terminal.run('printf %s "$CELERY_BROKER_URL" > run/secrets/admin')


def spoiled(world: World, terminal: Terminal) -> None:
    """Have somebody's policy that makes every queue lose: `queues show` fails."""
    terminal.run("celery-event-bridge queues declare; celery-event-bridge queues show")
    world.rabbitmq.ctl("set_policy", "-p", "quiet", "--priority", "10", "everybody", ".*", '{"message-ttl":1000}')
    repeated(terminal, "! celery-event-bridge queues show")
    terminal.replaced.append(("set_policy", "set_policy -p quiet"))


def kept_off(world: World, terminal: Terminal) -> None:
    """See that the policy of the page keeps that one off."""
    repeated(terminal, "celery-event-bridge queues show")


def parked(world: World, terminal: Terminal) -> None:
    """Have a bridge that parks messages of three kinds."""
    terminal.run("export BRIDGE_MAX_MESSAGE_BYTES=8KiB; celery-event-bridge run")
    for body, kind in (
        (b"a: b", "application/x-yaml"),
        (b"{", "application/json"),
        (b" " * 10_000, "application/json"),
    ):
        world.publish(body, kind)
    waiting(world, terminal)
    (first, *_) = terminal.run("celery-event-bridge rejected list --reason undecodable").split()
    terminal.replaced.append((r"\b91f0\b", first))


def waiting(world: World, terminal: Terminal) -> None:
    """Wait until all three are parked."""
    listed = "celery-event-bridge rejected list"
    repeated(
        terminal, " && ".join(f"{listed} --reason {reason}" for reason in ("content-type", "too-large", "undecodable"))
    )


def another_topic(world: World, terminal: Terminal) -> None:
    """Have a topic made that is not there, by one node instead of three."""
    terminal.replaced.insert(0, (r"(?<=--topic )celery-events", f"{world.topic}-made"))
    alone = "--replication-factor 1 --config min.insync.replicas=1"
    terminal.replaced.append(("--replication-factor 3 --config min.insync.replicas=2", alone))


def package(world: World, terminal: Terminal) -> None:
    """Have the sink of the page as a package, in an environment with the bridge."""
    page = blocks(ROOT / "docs/how-to/write-a-sink.md")
    for name in ("json_lines.py", "test_json_lines.py"):
        block = next(block for block in page if block.text.startswith(f'"""{name}'))
        (terminal.folder / name).write_text(block.text)
    clone(world, terminal)
    terminal.run("pip install .", timeout=200)
    toml = next(block.text for block in page if block.language == "toml")
    (terminal.folder / "pyproject.toml").write_text(toml)
    terminal.run(f"export TYPED_BRIDGE='{terminal.folder}/venv/bin/python -m celery_event_bridge'")


def stopped(world: World, terminal: Terminal) -> None:
    """Have the bridge stopped: another stream is chosen."""
    terminal.stop("run")


def previous(world: World, terminal: Terminal) -> None:
    """Have the version before, to go back to."""
    terminal.run("ln -s 0.1.0 opt/celery-event-bridge/0.0.9")


def restored(world: World, terminal: Terminal) -> None:
    """See that what was restored is what was backed up."""
    copied, missing = terminal.run(f'sqlite3 restored.db "{COPIED}"').strip().split("|")
    assert (True, "0") == (int(copied) > 10, missing)
    for url in ("redis://localhost:6379/0?stream=restored", "kafka://localhost:9092/restored"):
        file = "again" + url[:5]
        terminal.run(f"celery-event-bridge replay --from '{terminal.here(url)}' --to sqlite:///{file}.db")
        assert f"{copied}|0" == terminal.run(f'sqlite3 {file}.db "{COPIED}"').strip()
