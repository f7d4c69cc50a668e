"""Faults of Redis."""

from __future__ import annotations

from random import Random
from typing import cast

from redis import Redis, ResponseError

from tests.faults.cards import card, hold
from tests.faults.proxy import Mode
from tests.faults.stage import Stage
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis
from tests.support.stores import RedisStore

STREAM = "celery-events"
SHORTEST = 60
"""Microseconds that a pause of one takes in fact."""


def redis_of(stage: Stage) -> NativeRedis:
    return cast("NativeRedis", cast("RedisStore", stage.store).server)


@card("Redis killed", sinks=("redis",), weight=2)
def redis_killed(stage: Stage, dice: Random) -> None:
    redis_of(stage).kill()
    hold(dice)
    redis_of(stage).start()


@card("Redis frozen", sinks=("redis",), weight=2)
def redis_frozen(stage: Stage, dice: Random) -> None:
    redis_of(stage).pause()
    hold(dice, 0.2, 7)
    redis_of(stage).resume()


@card("Redis full", sinks=("redis",))
def redis_full(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.config_set("maxmemory", 1)
        hold(dice)
        client.config_set("maxmemory", 0)


@card("Redis a replica", sinks=("redis",))
def redis_read_only(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.replicaof("127.0.0.1", "1")
        hold(dice)
        client.replicaof("NO", "ONE")


@card("Redis cannot save", sinks=("redis",))
def redis_misconf(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        # A name that is a folder: the snapshot fails, and then writes are refused with MISCONF.
        client.config_set("dbfilename", "appendonlydir")
        client.config_set("save", "3600 1")
        snapshot(client)
        hold(dice)
        client.config_set("save", "")
        client.config_set("dbfilename", "dump.rdb")
        snapshot(client)


def snapshot(client: Redis) -> None:
    """Begin one, once another that Redis itself has begun is over."""

    def begun() -> bool:
        try:
            return bool(client.bgsave())
        except ResponseError:
            return False

    until(begun, 20, "Redis makes a snapshot")


@card("connections to Redis killed", sinks=("redis",), weight=2)
def redis_connections(stage: Stage, _dice: Random) -> None:
    with redis_of(stage).client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


@card("another type under the stream's name", sinks=("redis",))
def redis_wrong_type(stage: Stage, dice: Random) -> None:
    with redis_of(stage).client() as client:
        exchange = client.pipeline(transaction=True)
        exchange.rename(STREAM, "aside").set(STREAM, "no stream").execute()
        hold(dice)
        back = client.pipeline(transaction=True)
        back.delete(STREAM).rename("aside", STREAM).execute()


@card("Redis killed, and slow to load", sinks=("redis",), weight=0.5)
def redis_loading(stage: Stage, _dice: Random) -> None:
    with redis_of(stage).client() as client:
        commands = max(1, int(client.xlen(STREAM)))
    redis_of(stage).kill()
    # LOADING for two seconds: microseconds a command, or, negative, so many commands to a pause of one.
    pause = 2_000_000 // commands
    redis_of(stage).start("--key-load-delay", str(pause if pause > SHORTEST else -(SHORTEST * commands // 2_000_000)))


@card("Redis fails over", sinks=("redis",))
def redis_fails_over(stage: Stage, dice: Random) -> None:
    """Its name leads to a replica that was promoted, and later back; connections to the demoted one stay open."""
    first = redis_of(stage)
    second = NativeRedis("--appendfsync", "always", server=stage.servers.redis())
    try:
        second.start()
        with first.client() as old, second.client() as new:
            new.replicaof("127.0.0.1", str(first.port))
            until(lambda: new.info("replication")["master_link_status"] == "up", 60, "the replica has all")
            hand_over(old, new, second.port)
            stage.stream_network.lead_to(second.port)
            hold(dice, 1, 6)
            hand_over(new, old, first.port)
            stage.stream_network.lead_to(first.port)
            hold(dice, 1, 6)
    finally:
        second.remove()


def hand_over(master: Redis, replica: Redis, port: int) -> None:
    """Without a loss: the master stands still until the replica has all, and is its replica then."""
    until(lambda: begins_to_hand_over(master, port), 20, "the failover begins")
    until(lambda: replica.info("replication")["role"] == "master", 20, "the replica is promoted")


def begins_to_hand_over(master: Redis, port: int) -> bool:
    try:
        return bool(master.execute_command("FAILOVER", "TO", "127.0.0.1", port))
    except ResponseError:  # not known as a replica yet
        return False


@card("replies of Redis trickle", sinks=("redis",))
def redis_trickles(stage: Stage, dice: Random) -> None:
    network = stage.stream_network
    network.pace, network.replies_only, network.mode = 2.0, True, Mode.TRICKLE
    hold(dice, 1, 8)
    network.heal()
    network.pace, network.replies_only = 0.001, False
