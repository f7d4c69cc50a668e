"""Masters that sentinels know: `redis+sentinel://user:password@host:26379,host2:26379/mymaster/0`.

With each connection one sentinel after the other is asked who the master is; and who is named has to say itself that it
is one, since a sentinel may not know yet what the others have decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError
from redis.sentinel import MasterNotFoundError, Sentinel

from celery_event_sinks.redis.timed import is_name, resolve

SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""And those of the masters' own URLs."""
PORT = 26379
LEAST = 0.1
"""Seconds for one sentinel at least."""
OWN = ("sentinel_username", "sentinel_password")
"""Options of the query that are for the sentinels."""
_HOST = re.compile(r"^(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/?#@]+))(?::(?P<port>\d{1,5}))?$", re.ASCII)


class NoMaster(ValueError):
    """A URL of sentinels that cannot be read. The text repeats nothing of it."""


class Finder(Protocol):
    """Somebody who knows for each connection where it has to lead: to a master."""

    @property
    def kind(self) -> str:
        """Name of those who know, in a few words."""

    @property
    def where(self) -> str:
        """The same for every replica."""

    def find(self, seconds: float) -> tuple[str, int]:
        """Return host and port of the master, within about so many seconds. Raises RedisError, OSError."""


class Masters(msgspec.Struct, frozen=True):
    """A master's name, and the sentinels that know where it is."""

    kind: ClassVar[str] = "the sentinels"
    name: str
    sentinels: Sequence[tuple[str, int]]
    options: Mapping[str, Any]
    """Login and TLS of the connection to a sentinel."""

    @property
    def where(self) -> str:
        """The same for every replica: the name, and the sentinels as the URL has them."""
        return f"{self.name} of the sentinels {','.join(f'{host}:{port}' for host, port in self.sentinels)}"

    def find(self, seconds: float) -> tuple[str, int]:
        """Return host and port of the master, within about so many seconds. Raises RedisConnectionError."""
        each = max(LEAST, seconds / len(self.sentinels))
        failure: Exception = RedisConnectionError("no sentinel")
        for host, port in self.sentinels:
            try:
                if is_name(host):
                    resolve(host, port, each)
                return self._told(host, port, each)
            except MasterNotFoundError:
                failure = RedisConnectionError("none knows a master of that name that is up: is the name right")
            except (RedisError, OSError) as exc:
                failure = exc
        raise RedisConnectionError(str(failure)) from failure

    def _told(self, host: str, port: int, seconds: float) -> tuple[str, int]:
        options = {**self.options, "socket_timeout": seconds, "socket_connect_timeout": seconds}
        asked = Sentinel([(host, port)], sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        try:
            found = asked.discover_master(self.name)  # type: ignore[no-untyped-call]
        finally:
            for sentinel in asked.sentinels:
                sentinel.close()
        return str(found[0]), int(found[1])


def masters_of(url: str, tls: Mapping[str, Any]) -> tuple[Masters | None, str]:
    """Return what a URL says of sentinels, and the master's own, whose host is none yet; None for any other URL.

    Raises NoMaster.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return None, url
    login, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise NoMaster("after the sentinels comes the master's name, such as redis+sentinel://host:26379/mymaster/0")
    query = dict(parse_qsl(parts.query))
    own = {option.removeprefix("sentinel_"): query.pop(option) for option in OWN if option in query}
    options = own | ({"ssl": True, **tls} if parts.scheme == "rediss+sentinel" else {})
    sentinels = [address_of(host, PORT) for host in hosts.split(",")]
    netloc = f"{login}@master" if login else "master"
    plain = urlunsplit((SCHEMES[parts.scheme], netloc, f"/{database}", urlencode(query), ""))
    return Masters(unquote(name), sentinels, options), plain


def address_of(text: str, port: int) -> tuple[str, int]:
    """Return host and port of a text, which may leave out the port. Raises NoMaster."""
    found = _HOST.match(text.strip())
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise NoMaster("sentinels are host:26379, separated by commas")
    return found["v6"] or found["host"], int(found["port"] or port)
