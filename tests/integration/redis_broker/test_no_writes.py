"""A Redis that takes no writes, as for want of replicas or of a disk: the lease can be neither renewed nor taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bridges import Bridge
from tests.support.redis_broker import Publisher, settings, stored
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis

FORWARDS = "this bridge forwards the events"


@contextmanager
def without_writes(server: NativeRedis, how: str) -> Iterator[None]:
    """Have the server refuse them; it accepts them again at the end."""
    with server.client() as client:
        if how == "NOREPLICAS":
            client.config_set("min-replicas-to-write", 1)
            yield
            client.config_set("min-replicas-to-write", 0)
            return
        # A name that is a folder: the snapshot fails, and then writes are refused.
        client.config_set("dbfilename", "appendonlydir")
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20, "the snapshot has failed")
        yield
        client.config_set("save", "")


@pytest.fixture
def server() -> Iterator[NativeRedis]:
    """A Redis whose snapshots a test can let fail."""
    made = NativeRedis("--enable-protected-configs", "yes")
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize("how", ["NOREPLICAS", "MISCONF"])
def test_who_forwards_goes_on_though_its_lease_cannot_be_renewed(
    start_bridge: Callable[..., Bridge], server: NativeRedis, tmp_path: Path, how: str
) -> None:
    """Nobody else can take it; both say what is so, and when writes are taken again it is as before."""
    file = tmp_path / "events.db"
    first = start_bridge(**settings(server, file)).await_ready()
    first.await_log(FORWARDS)
    other = start_bridge(**settings(server, file)).await_ready()
    bridges = [first, other]
    publisher = Publisher(server.url)
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    with without_writes(server, how):
        before = len(publisher.sent)
        until(lambda: len(publisher.sent) > before + 300 * 6, 60, "it is so for six seconds")
        last = max(publisher.sent, key=publisher.sent.__getitem__)
        until(lambda: last in stored(file), 2, "it forwards what is published meanwhile")
        code, text = first.get("/readyz")
        assert (503, True) == (code, how in text), text
        assert "this bridge forwards on, and no other one could take over" in text
        until(lambda: "the one that forwards goes on" in other.get("/readyz")[1], 10, "the other one says so")
        assert 1 <= first.metric("notices_total", kind="waiting")
    until(lambda: all(each.get("/readyz")[0] == 200 for each in bridges), 20, "both are ready again")
    sent = publisher.finish()
    until(lambda: sent <= stored(file), 20, "all is stored")
    assert [] == first.logged("the lease has run out")
    assert 0 == sum(each.metric("gaps_total") for each in bridges)


def test_with_the_one_that_forwards_gone_it_is_said_that_nobody_does(
    start_bridge: Callable[..., Bridge], server: NativeRedis, tmp_path: Path
) -> None:
    """What is heard waits, and is stored once somebody can take the lease."""
    file = tmp_path / "events.db"
    first = start_bridge(**settings(server, file)).await_ready()
    first.await_log(FORWARDS)
    other = start_bridge(**settings(server, file)).await_ready()
    publisher = Publisher(server.url)
    publisher.start()
    until(lambda: stored(file), 20, "events are stored")
    with without_writes(server, "NOREPLICAS"):
        first.kill()
        until(lambda: "nobody can take it, and so nobody forwards" in other.get("/readyz")[1], 20, "it is said")
        assert 1 <= other.metric("notices_total", kind="waiting")
        before = len(publisher.sent)
        until(lambda: len(publisher.sent) > before + 300, 20, "more is published")
    other.await_log(FORWARDS)
    sent = publisher.finish()
    until(lambda: sent <= stored(file), 20, "all is stored")
