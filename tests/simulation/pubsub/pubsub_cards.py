"""Cards of the kind `pubsub`: what befalls Redis, the connections to it, its keys, and a replica between two calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.faults import Card, Cards, one, set_for
from tests.simulation.pubsub.keys import Keys
from tests.simulation.pubsub.link import Client
from tests.simulation.pubsub.servers import Servers

if TYPE_CHECKING:
    from tests.simulation.play import Play

SHORT_LAG = 0.3
"""Seconds by which keys are older, at most, where gaps are to be exact."""


def _servers(play: Play) -> Servers:
    servers: Servers = play.kind.servers  # type: ignore[attr-defined]
    return servers


def _client(play: Play, card: Card) -> Client | None:
    clients = _servers(play).all_clients()
    return clients[int(card.who * len(clients))] if clients else None


def _cut(play: Play, card: Card) -> None:
    if client := _client(play, card):
        client.cut()


def _cut_all(play: Play, card: Card) -> None:
    for client in _servers(play).all_clients():
        client.cut(noticed_after=card.much * 0.2)


def _half_open(play: Play, card: Card) -> None:
    """Let nothing arrive any more; the server notices at once, or as late as the client."""
    if client := _client(play, card):
        seconds = card.seconds(0.1, 20.0)
        if card.who * 100 % 1 < 0.5:
            client.cut(noticed_after=seconds)
        else:
            client.half_open = True
            play.world.after(seconds, client.cut)


def _late(attribute: str) -> Callable[[Play, Card], None]:
    def play_it(play: Play, card: Card) -> None:
        if client := _client(play, card):
            seconds, servers = card.seconds(0.01, 4.0), _servers(play)
            servers.latest = max(servers.latest, seconds)
            set_for(play, client, attribute, seconds, 0.0, 0.2 + card.who * 5)

    return play_it


def _late_both_ways(play: Play, card: Card) -> None:
    """Let who holds the lease be answered late for a moment, and then be late itself: it renews in vain, and hears."""
    servers, world = _servers(play), play.world
    owner = servers.master.keys.get(servers.names.lease, servers.master.milliseconds)
    seconds = card.seconds(0.3, 3.0)
    for client in servers.master.clients:
        if owner is not None and client.process is _process_of(play, owner.encode()):
            servers.latest = max(servers.latest, 4.0)
            set_for(play, client, "down", seconds, 0.0, 0.45)
            world.after(0.45, set_for, play, client, "up", 4.0, 0.0, 5.0)


def _process_of(play: Play, owner: bytes) -> object:
    for replica in play.replicas:
        if replica.source.owner.encode() == owner:  # type: ignore[attr-defined]
            return replica.process
    return None


def _fill(play: Play, card: Card) -> None:
    if client := _client(play, card):
        client.push([b"invalidate", None], _servers(play).limit)


def _deafen(play: Play, card: Card) -> None:
    if client := _client(play, card):
        client.subscribed = False


def _cut_off(play: Play, card: Card) -> None:
    """Let a replica's connection be half open, and no other be made."""
    replica, seconds = one(play, card), card.seconds(0.2, 12.0)
    play.world.unreachable[replica.name] = play.world.now + seconds
    for client in _servers(play).all_clients():
        if client.process is replica.process:
            client.half_open = True
            play.world.after(seconds, client.cut)


def _restart_empty(play: Play, card: Card) -> None:
    servers = _servers(play)
    servers.restart(card.seconds(0.02, 4.0), Keys() if servers.loses_keys else servers.master.keys_of(0.0))


def _restart(play: Play, card: Card) -> None:
    servers = _servers(play)
    servers.restart(card.seconds(0.02, 4.0), servers.master.keys_of(card.who))


def _fail_over(play: Play, card: Card) -> None:
    servers = _servers(play)
    if servers.master.up:
        servers.fail_over(card.who)


def fail_over_soon(play: Play, card: Card) -> None:
    """Promote a replica that lags a little: what it has of the lease says when it was the master's last."""
    servers = _servers(play)
    if servers.master.up:
        servers.fail_over(SHORT_LAG * card.who)


def restart_soon(play: Play, card: Card) -> None:
    """Restart it with keys that are as old, as with an append-only file."""
    servers = _servers(play)
    servers.restart(card.seconds(0.02, 4.0), servers.master.keys_of(SHORT_LAG * card.who))


def _part(play: Play, card: Card) -> None:
    servers, world = _servers(play), play.world
    if servers.master.up:
        stray = 0.0 if world.chance(0.5) else world.random.random()
        names = [replica.name for replica in play.replicas]
        servers.part(card.who, card.seconds(0.3, 8.0), stray, lambda: world.chance(0.5), names)


def _set_clock(play: Play, card: Card) -> None:
    servers = _servers(play)
    most = (0.02, 0.02) if not servers.sets_clocks else (4.0, 7200.0)
    servers.ahead += (card.much - 0.5) * 2 * most[int(card.who * 2)]


def _for_a_while(name: str, most: float) -> Callable[[Play, Card], None]:
    def play_it(play: Play, card: Card) -> None:
        set_for(play, _servers(play), name, True, False, card.seconds(0.1, most))

    return play_it


def _slow(play: Play, card: Card) -> None:
    servers = _servers(play)
    servers.latest = max(servers.latest, card.seconds(0.001, 2.0))
    set_for(play, servers, "slow", card.seconds(0.001, 2.0), 0.0, card.who * 4)


def _delete(name: str) -> Callable[[Play, Card], None]:
    def play_it(play: Play, _: Card) -> None:
        servers = _servers(play)
        if name == "record" and not servers.loses_keys:
            return
        servers.master.keys.delete(getattr(servers.names, name))
        servers.master.changed()

    return play_it


def _flush(play: Play, _: Card) -> None:
    servers = _servers(play)
    if servers.loses_keys:
        servers.master.keys.delete(servers.names.lease)
        servers.master.keys.delete(servers.names.record)
        servers.master.changed()


def _persist(play: Play, _: Card) -> None:
    servers = _servers(play)
    keys, name, now = servers.master.keys, servers.names.lease, servers.master.milliseconds
    if owner := keys.get(name, now):
        keys.put(name, owner, float("inf"))
        servers.master.changed()


def _stand_still(play: Play, card: Card) -> None:
    """Let a replica stand still at one of its next calls, of a clock or of its connection."""
    clock: Any = one(play, card).source._clock  # type: ignore[attr-defined]
    clock.pauses.insert(0, (int(play.world.random.random() * 40), card.seconds(0.05, 8.0)))


def _own_sink_away(play: Play, card: Card) -> None:
    way: Any = play.kind.ways[one(play, card).name]  # type: ignore[attr-defined]
    way.own_outages += 1
    play.world.after(card.seconds(0.1, 20.0), way.end_own_outage)


def _own_sink_slow(play: Play, card: Card) -> None:
    way: Any = play.kind.ways[one(play, card).name]  # type: ignore[attr-defined]
    set_for(play, way, "own_slow", card.seconds(0.001, 3.0), 0.0, card.who * 5)


def _refuse_parking(play: Play, card: Card) -> None:
    one(play, card).parking.refuse += 1 + int(card.much * 5)  # type: ignore[attr-defined]


OF_PUBSUB: Cards = {
    "connection cut": _cut,
    "all connections cut": _cut_all,
    "connection half open": _half_open,
    "answers late": _late("down"),
    "commands late": _late("up"),
    "answers late, then commands": _late_both_ways,
    "output buffer full": _fill,
    "subscription gone": _deafen,
    "replica cut off": _cut_off,
    "Redis restarted empty": _restart_empty,
    "Redis restarted": _restart,
    "Redis failed over": _fail_over,
    "Redis parted": _part,
    "Redis's clock set": _set_clock,
    "Redis slow": _slow,
    "Redis refuses the script": _for_a_while("refuses", 3.0),
    "Redis out of memory": _for_a_while("oom", 4.0),
    "Redis cannot save": _for_a_while("misconf", 12.0),
    "Redis read only": _for_a_while("readonly", 3.0),
    "lease deleted": _delete("lease"),
    "record deleted": _delete("record"),
    "Redis flushed": _flush,
    "lease kept for good": _persist,
    "replica stands still": _stand_still,
    "stream away for one": _own_sink_away,
    "stream slow for one": _own_sink_slow,
    "parking refused": _refuse_parking,
}
RARE = ("all replicas killed", "all connections cut", "Redis restarted empty", "Redis restarted", "stream away")
