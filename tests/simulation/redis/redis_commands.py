"""Commands of the model of Redis, as a bridge sends them: each answers in the bytes of RESP 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.redis.redis_stream import NOWHERE, Place, Stored, StreamKey

if TYPE_CHECKING:
    from tests.simulation.redis.redis_server import Session

OK = b"+OK\r\n"
NULL = b"$-1\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
NO_KEY = b"-ERR no such key\r\n"
NO_KEY_OF_A_GROUP = (
    b"-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
    b"option to create an empty stream automatically.\r\n"
)
NOT_AN_ID = b"-ERR Invalid stream ID specified as stream command argument\r\n"
SYNTAX = b"-ERR syntax error\r\n"


def bulk(value: bytes) -> bytes:
    """Return a value as RESP."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def number(value: int) -> bytes:
    """Return a number as RESP."""
    return b":%d\r\n" % value


def array(values: Sequence[bytes]) -> bytes:
    """Return values that are RESP already as one."""
    return b"*%d\r\n%b" % (len(values), b"".join(values))


def entry(place: Place) -> bytes:
    """Return an entry's id as Redis writes it."""
    return b"%d-%d" % place


def _entry_of(stored: Stored) -> bytes:
    return array([bulk(entry(stored.place)), array([bulk(field) for field in stored.fields])])


def _place(text: bytes, least: int = 0) -> Place:
    milliseconds, _, rest = text.partition(b"-")
    return int(milliseconds), int(rest) if rest else least


class Options(NamedTuple):
    """Options of an XADD."""

    maxlen: int | None
    once: tuple[bytes, bytes] | None
    """Producer and id."""
    rest: int
    """Place of the word after them."""


def _options(words: Sequence[bytes], *, idempotent: bool) -> Options:
    """Read those that a bridge sends."""
    maxlen: int | None = None
    once: tuple[bytes, bytes] | None = None
    at = 2
    while at < len(words):
        option = words[at].upper()
        if option == b"MAXLEN":
            at += words[at + 1] in (b"~", b"=")
            maxlen = int(words[at + 1])
            at += 2
        elif option == b"IDMP" and idempotent:
            once = words[at + 1], words[at + 2]
            at += 3
        else:
            break
    return Options(maxlen, once, at)


def _refused_id(given: bytes, *, once: bool) -> bytes:
    """Return why Redis gives no entry that id. No bridge asks for one that it would."""
    try:
        place = _place(given)
    except ValueError:
        return NOT_AN_ID
    if once:
        return b"-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs\r\n"
    return SYNTAX if place != NOWHERE else b"-ERR The ID specified in XADD must be greater than 0-0\r\n"


def xadd(session: Session, words: Sequence[bytes]) -> bytes:
    server, key = session.server, words[1]
    maxlen, once, at = _options(words, idempotent=server.idempotent)
    fields = [*words[at + 1 :]]
    if words[at] != b"*":
        return _refused_id(words[at], once=once is not None)
    if server.wrong_type:
        return WRONG_TYPE
    stream = server.streams.setdefault((session.database, key), StreamKey())
    if once is not None and (found := stream.remembered(*once, server.world.now)) is not None:
        server.tells_of(stream, found)
        return bulk(entry(found))
    stored = Stored(stream.next_place(server.milliseconds()), "", fields, server.world.now)
    server.store(stream, stored)
    if once is not None:
        stream.remember(*once, stored.place, server.world.now)
    if maxlen is not None and len(stream.entries) > maxlen + 100:  # about
        server.destroy(stream.take(stream.oldest(lambda left, _: left <= maxlen)), "MAXLEN")
    return bulk(entry(stored.place))


def xlen(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[1])
    return number(0 if stream is None else len(stream.entries))


def xrange(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[1])
    if stream is None:
        return array([])
    if words[2] == words[3]:
        one = stream.entries.get(_place(words[2]))
        return array([] if one is None else [_entry_of(one)])
    return SYNTAX  # the sink asks for one at a time


def xtrim(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[1])
    if stream is None:
        return number(0)
    if words[2].upper() != b"MINID":
        return SYNTAX
    least = _place(words[-1])
    gone = stream.take(stream.oldest(lambda _, place: place >= least))
    session.server.destroy(gone, "XTRIM")
    return number(len(gone))


def xinfo(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[2])
    if stream is None:
        return NO_KEY
    if words[1].upper() == b"GROUPS":
        return array([array([bulk(b"name"), bulk(name)]) for name in stream.groups])
    entries = [*stream.entries.values()]
    fields = [bulk(b"length"), number(len(entries)), bulk(b"last-generated-id"), bulk(entry(stream.last))]
    if session.server.counts_added:
        fields += [bulk(b"entries-added"), number(stream.added)]
    fields += [bulk(b"groups"), number(len(stream.groups))]
    fields += [bulk(b"first-entry"), _entry_of(entries[0]) if entries else NULL]
    fields += [bulk(b"last-entry"), _entry_of(entries[-1]) if entries else NULL]
    return array(fields)


def xgroup(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[2])
    if words[1].upper() == b"CREATE":
        if stream is None:
            stream = session.server.streams.setdefault((session.database, words[2]), StreamKey())
        if words[3] in stream.groups:
            return b"-BUSYGROUP Consumer Group name already exists\r\n"
        stream.groups[words[3]] = stream.last
        return OK
    if stream is None:
        return NO_KEY_OF_A_GROUP
    return number(stream.groups.pop(words[3], None) is not None)


def xcfgset(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[1])
    if stream is None:
        return NO_KEY
    values = {words[at].upper(): int(words[at + 1]) for at in range(2, len(words), 2)}
    stream.configure(values[b"IDMP-DURATION"], values[b"IDMP-MAXSIZE"])
    return OK


def ttl(session: Session, words: Sequence[bytes]) -> bytes:
    if session.server.wrong_type:
        return number(-1)
    stream = session.stream(words[1])
    if stream is None:
        return number(-2)
    return number(-1 if stream.expires is None else max(0, round(stream.expires - session.server.world.now)))


def persist(session: Session, words: Sequence[bytes]) -> bytes:
    stream = session.stream(words[1])
    if stream is None or stream.expires is None:
        return number(0)
    stream.expires = None
    return number(1)


def time(session: Session, words: Sequence[bytes]) -> bytes:
    microseconds = round(session.server.clock() * 1_000_000)
    return array([bulk(b"%d" % (microseconds // 1_000_000)), bulk(b"%d" % (microseconds % 1_000_000))])


def role(session: Session, words: Sequence[bytes]) -> bytes:
    if session.demoted:
        return array([bulk(b"slave"), bulk(b"127.0.0.2"), number(6379), bulk(b"connected"), number(1)])
    return array([bulk(b"master"), number(1), array([])])


def info(session: Session, words: Sequence[bytes]) -> bytes:
    run_id, history = session.run_id, session.server.history
    return bulk(b"# Server\r\nrun_id:%b\r\n# Replication\r\nmaster_replid:%b\r\n" % (run_id, history))


def config(session: Session, words: Sequence[bytes]) -> bytes:
    server = session.server
    if not server.tells_config:
        return b"-NOPERM User default has no permissions to run the 'config|get' command\r\n"
    known = {
        b"proto-max-bulk-len": b"%d" % server.longest,
        b"appendonly": b"yes",
        b"appendfsync": b"everysec",
        b"maxmemory-policy": b"noeviction",
    }
    value = known.get(words[2].lower())
    return array([] if value is None else [bulk(words[2]), bulk(value)])


def wait(session: Session, words: Sequence[bytes]) -> bytes:
    server = session.server
    if session.demoted:
        return b"-ERR WAIT cannot be used with replica instances.\r\n"
    if not server.replica_away:
        server.replicated_until = server.world.now
    if server.replicated_until >= session.wrote_at:
        return number(1)
    if int(words[1]) > 0:
        session.pause(int(words[2]) / 1000)
    return number(0)


def auth(session: Session, words: Sequence[bytes]) -> bytes:
    if words[-1] != session.server.password:
        return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    session.is_in = True
    return OK


def select(session: Session, words: Sequence[bytes]) -> bytes:
    session.database = int(words[1])
    return OK


def ping(session: Session, words: Sequence[bytes]) -> bytes:
    return b"+PONG\r\n"


def client(session: Session, words: Sequence[bytes]) -> bytes:
    return OK


COMMANDS: Mapping[bytes, Callable[[Session, Sequence[bytes]], bytes]] = {
    b"XADD": xadd,
    b"XLEN": xlen,
    b"XRANGE": xrange,
    b"XTRIM": xtrim,
    b"XINFO": xinfo,
    b"XGROUP": xgroup,
    b"XCFGSET": xcfgset,
    b"TTL": ttl,
    b"PERSIST": persist,
    b"TIME": time,
    b"ROLE": role,
    b"INFO": info,
    b"CONFIG": config,
    b"WAIT": wait,
    b"AUTH": auth,
    b"SELECT": select,
    b"PING": ping,
    b"CLIENT": client,
}
WRITES = frozenset((b"XADD", b"XTRIM", b"XGROUP", b"XCFGSET", b"PERSIST"))
TAKES_MEMORY = frozenset((b"XADD", b"XGROUP"))
OF_STREAMS = frozenset((b"XLEN", b"XRANGE", b"XTRIM", b"XINFO", b"XGROUP", b"XCFGSET"))
WHILE_LOADING = frozenset((b"AUTH", b"SELECT", b"CLIENT", b"INFO", b"CONFIG", b"ROLE"))
"""Redis answers these while it loads. (PING and TIME it does not, and so do they all.)"""
