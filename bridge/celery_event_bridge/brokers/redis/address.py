"""Addresses of a Redis broker as Celery writes them, read as kombu reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from celery_event_bridge.brokers.celery_options import refuse_unknown_in_url

SCHEMES = frozenset({"redis", "rediss", "redis+socket", "socket", "sentinel", "valkey", "valkeys"})
TLS = frozenset({"rediss", "valkeys"})
PORT, SENTINEL_PORT = 6379, 26379
_CERT_REQS = {
    "CERT_NONE": "none",
    "CERT_OPTIONAL": "optional",
    "CERT_REQUIRED": "required",
    "none": "none",
    "optional": "optional",
    "required": "required",
}
"""Values of `ssl_cert_reqs` as kombu takes them."""
FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
OPTIONS = FILES | {"ssl_ca_path", "ssl_ca_data", "ssl_password", "ssl_ciphers", "ssl_cert_reqs", "ssl_check_hostname"}
"""Options of TLS that a URL may have."""
_GLOB = re.compile(rb"([\\*?\[\]])")


class Address(msgspec.Struct, frozen=True):
    """A server, or those that know which one it is."""

    host: str = "127.0.0.1"
    port: int = PORT
    path: str = ""
    """Socket of the file system; empty for TCP."""
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    options: tuple[tuple[str, str | bool], ...] = ()
    """TLS options of the URL by redis-py's names, `ssl_...`."""
    sentinels: tuple[tuple[str, int], ...] = ()

    @property
    def where(self) -> str:
        """Name of it that holds no secret."""
        if self.sentinels:
            return "sentinels at " + ", ".join(f"{host}:{port}" for host, port in self.sentinels)
        return self.path or f"{self.host}:{self.port}"


def addresses(urls: tuple[str, ...]) -> tuple[Address, ...]:
    """Return the addresses to try in turn; sentinels are one. Raises ValueError with a text that repeats no secret."""
    parsed = [_address(url) for url in urls]
    sentinels = [each for each, url in zip(parsed, urls, strict=True) if url.lower().startswith("sentinel:")]
    if not sentinels:
        return tuple(parsed)
    known = tuple((each.host, each.port) for each in sentinels)
    first = parsed[0]
    return (msgspec.structs.replace(first, sentinels=known),)


def _address(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            "not a URL: the host or the port is wrong, or a / @ # or ? in the password is not %-encoded"
        ) from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise ValueError("expected redis://:password@host:6379/0, rediss://..., valkey://... or sentinel://host:26379")
    if "@" in parts.path + parts.query + parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError("a / @ # or ? in the password is not %-encoded")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    refuse_unknown_in_url(name for name in query if not name.startswith("ssl_"))
    options = _tls_options(query)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    if scheme in ("redis+socket", "socket"):
        return Address(
            path=unquote(parts.path),
            database=database(query.get("virtual_host", "")),
            username=username,
            password=password,
        )
    default = SENTINEL_PORT if scheme == "sentinel" else PORT
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=default if port is None else port,
        database=database(unquote(parts.path)),
        tls=scheme in TLS or bool(options),  # as kombu has it
        options=options,
        username=username,
        password=password,
    )


def _tls_options(query: dict[str, str]) -> tuple[tuple[str, str | bool], ...]:
    """Return the options of TLS as kombu reads them. Raises ValueError."""
    options: dict[str, str | bool] = {name: value for name, value in query.items() if name.startswith("ssl_")}
    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(f"there is no option {name}; those of TLS are {', '.join(sorted(OPTIONS))}")
        if name in FILES and not Path(str(value)).is_file():
            raise ValueError(f"{name}: there is no such file")
        if name == "ssl_cert_reqs":
            if value not in _CERT_REQS:
                raise ValueError("ssl_cert_reqs is required, optional or none")
            options[name] = _CERT_REQS[str(value)]
        elif name == "ssl_check_hostname":
            options[name] = str(value).lower() != "false"
    return tuple(options.items())


def database(text: str) -> int:
    """Return the number of a database as kombu reads a virtual host: `/1`, `1`, or nothing for 0. Raises ValueError."""
    text = text.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError("after the host comes the database's number, such as redis://host:6379/0")
    return int(text)


class Names(msgspec.Struct, frozen=True):
    """Names in Redis: of Celery's, and of the bridge's."""

    base: bytes
    """Channel of the event exchange, without a routing key."""
    control: bytes
    """Channel of the replicas among themselves."""
    again: bytes
    """Channel of what was parked and is sent again."""
    lease: bytes
    record: bytes
    rejected: bytes

    @property
    def size(self) -> bytes:
        """Key of what is known of the size of what is parked."""
        return self.rejected + b".size"

    @property
    def patterns(self) -> tuple[bytes, bytes]:
        """Patterns to subscribe to, as a Celery receiver does."""
        escaped = _GLOB.sub(rb"\\\1", self.base)
        return escaped + b"/*", escaped


def names(*, database: int, exchange: str, queue: str, options: dict[str, Any]) -> Names:
    """Return the names, with `global_keyprefix` and `fanout_prefix` of Celery's broker_transport_options."""
    prefix = str(options.get("global_keyprefix") or "")
    fanout = options.get("fanout_prefix", True)
    before = fanout if isinstance(fanout, str) else ("/{db}." if fanout else "")
    base = prefix + before.replace("{db}", str(database)) + exchange
    own = prefix + queue
    return Names(
        base=base.encode(),
        control=f"{own}.{database}.control".encode(),
        again=f"{own}.{database}.again".encode(),
        lease=f"{own}.lease".encode(),
        record=f"{own}.record".encode(),
        rejected=f"{own}.rejected".encode(),
    )
