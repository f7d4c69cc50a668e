"""Cards of the kind `redis`: what befalls Redis, its streams, and the way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.faults import Card, Cards, set_for
from tests.simulation.redis.redis_server import LAG, RedisServer, Session

if TYPE_CHECKING:
    from tests.simulation.play import Play


def _redis(play: Play) -> RedisServer:
    server: RedisServer = play.kind.redis  # type: ignore[attr-defined]
    return server


def _session(play: Play, card: Card) -> Session | None:
    sessions = _redis(play).sessions
    return sessions[int(card.who * len(sessions))] if sessions else None


def _reset(play: Play, card: Card) -> None:
    if session := _session(play, card):
        session.line.reset()


def _reset_in_the_midst(play: Play, card: Card) -> None:
    _redis(play).cut_after.append(card.much)


def _half_open(play: Play, card: Card) -> None:
    if session := _session(play, card):
        session.line.reset(noticed_after=None if card.much < 0.3 else card.seconds(0.01, 20.0))


def _silent(play: Play, card: Card) -> None:
    if session := _session(play, card):
        session.line.silent = True
        play.world.after(card.seconds(0.05, 20.0), session.line.resume)


def _trickle(play: Play, card: Card) -> None:
    _redis(play).trickle.append(card.seconds(0.05, 60.0))


def _restart(play: Play, card: Card) -> None:
    server = _redis(play)
    server.stop()
    play.world.after(card.seconds(0.05, 10.0), server.start, card.who * 3 if card.who > 0.5 else 0.0)


def _restart_without_the_last(play: Play, card: Card) -> None:
    server = _redis(play)
    server.stop()
    server.lose(play.world.now - 1.0, "restarted with appendfsync everysec")
    play.world.after(card.seconds(0.05, 10.0), server.start, card.who * 2)


def _fail_over(play: Play, card: Card) -> None:
    server, now = _redis(play), play.world.now
    since = server.replica_away_since if server.replica_away else now - card.who * LAG
    # What was waited for is on the replica: its loss would be no accident.
    server.lose(max(since, server.replicated_until), "failed over", excused=not play.kind.wait)  # type: ignore[attr-defined]
    server.fail_over()


def _replica_away(play: Play, card: Card) -> None:
    server = _redis(play)
    if not server.replica_away:
        server.replica_away, server.replica_away_since = True, play.world.now
        play.world.after(card.seconds(0.1, 10.0), setattr, server, "replica_away", False)


def _for_a_while(name: str, most: float) -> Callable[[Play, Card], None]:
    def play_it(play: Play, card: Card) -> None:
        set_for(play, _redis(play), name, True, False, card.seconds(0.1, most))

    return play_it


def _slow(play: Play, card: Card) -> None:
    set_for(play, _redis(play), "slow", card.seconds(0.001, 4.0), 0.0, card.who * 5)


def _busy(play: Play, card: Card) -> None:
    _redis(play).busy_until = play.world.now + card.seconds(0.05, 12.0)


def _flush(play: Play, card: Card) -> None:
    _redis(play).flush("FLUSHALL")


def _delete_some(play: Play, card: Card) -> None:
    server = _redis(play)
    for stream in server.streams.values():
        places = [*stream.entries]
        first = int(card.who * len(places))
        server.destroy(stream.take(places[first : first + 1 + int(card.much * 50)]), "XDEL")


def _trim_all(play: Play, card: Card) -> None:
    server = _redis(play)
    for stream in server.streams.values():
        server.destroy(stream.take([*stream.entries]), "XTRIM")


def _expire(play: Play, card: Card) -> None:
    for stream in _redis(play).streams.values():
        stream.expires = play.world.now + card.seconds(0.5, 60.0)


def _set_clock(play: Play, card: Card) -> None:
    _redis(play).ahead = (card.much - 0.5) * 7200


OF_REDIS: Cards = {
    "Redis's connection reset": _reset,
    "Redis's answers lost": _reset_in_the_midst,
    "Redis half open": _half_open,
    "Redis silent": _silent,
    "Redis's answers trickle": _trickle,
    "Redis restarted": _restart,
    "Redis restarted without the last second": _restart_without_the_last,
    "Redis failed over": _fail_over,
    "Redis's replica away": _replica_away,
    "Redis out of memory": _for_a_while("oom", 10.0),
    "Redis's disk full": _for_a_while("misconf", 10.0),
    "Redis slow": _slow,
    "Redis busy": _busy,
    "FLUSHALL": _flush,
    "XDEL": _delete_some,
    "XTRIM": _trim_all,
    "EXPIRE": _expire,
    "wrong type": _for_a_while("wrong_type", 10.0),
    "Redis's clock set": _set_clock,
}
