"""The settings of the sink and the reader: `BRIDGE_REDIS_*`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FilePath, field_validator, model_validator

from celery_event_bridge.contract import secret_files
from celery_event_bridge.contract.values import Name, is_one_line
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.cluster import CLUSTERS, cluster_of
from celery_event_sinks.redis.masters import SCHEMES, NoMaster, masters_of
from celery_event_sinks.redis.trim import Trim, trim_rule

IN_URL = ("stream", "shards")
"""Settings that a URL may give in its query; the rest of it is redis-py's."""
NO_TLS = {"tls_ca": "", "tls_cert": "", "tls_key": "", "tls_verify": "true"}
_DATABASE = re.compile(r"/*\d*/*", re.ASCII)


class RedisSettings(BaseModel):
    """`BRIDGE_REDIS_*`."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    names_stream: ClassVar = ("url", "stream")

    url: str = Field("redis://localhost:6379/0", description="redis://user:password@host:6379/0, rediss://, unix://")
    stream: Name = Field("celery-events", min_length=1, description="name of the stream; {group}: task, worker, other")
    shards: int = Field(1, ge=1, le=16384, description="more than one: streams NAME:{0} to NAME:{n-1}, by key")
    trim: Annotated[Trim, BeforeValidator(trim_rule)] = Field(
        Trim("never"), description="never, acked, maxlen=1000000 or age=7d"
    )
    tls_ca: FilePath | None = Field(None, description="file with the CA certificates to trust (rediss://)")
    tls_cert: FilePath | None = Field(None, description="file with the client's certificate")
    tls_key: FilePath | None = Field(None, description="file with the client's private key")
    tls_verify: bool = Field(default=True, description="verify the server's certificate and host name")
    wait: int = Field(0, ge=0, description="replicas that must have a write before it counts as confirmed")
    waitaof: int = Field(0, ge=0, description="replicas that must have it on disk, beside this Redis itself (>= 7.2)")

    @field_validator("url")
    @classmethod
    def _a_server_that_we_can_serve(cls, value: str) -> str:
        try:
            scheme, elsewhere = urlsplit(value).scheme, urlsplit(value).query + urlsplit(value).fragment
        except ValueError:  # whose text may repeat the password
            raise ValueError("not a URL: the host is wrong; an IPv6 address is [::1]") from None
        if scheme not in ("redis", "rediss", "unix", *SCHEMES, *CLUSTERS):
            raise ValueError("expected redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://")
        try:
            path = "" if scheme == "unix" else urlsplit(value).path
            if not is_one_line(value):
                raise ValueError("a line end in it would be left out")
            if "@" in path:  # redis:///user:password@host would be this host
                raise ValueError("its host is in its path")
            if "@" in elsewhere and "@" not in urlsplit(value).netloc:  # and redis://user:1#rest@host the host `user`
                raise ValueError("its host is behind a ? or #")
            masters, _ = masters_of(value, {})
            path = path if masters is None else path.strip("/").partition("/")[2]
            cluster = cluster_of(value) if scheme in CLUSTERS else None
            RedisClient(cluster.node_url(cluster.seeds[0]) if cluster else value)
        except NoMaster:
            raise
        except (ValueError, TypeError) as exc:
            raise ValueError(
                "not a URL of Redis, such as redis://user:password@host:6379/0; a / @ # or ? in the password has to be "
                "%-encoded"
            ) from exc
        if not _DATABASE.fullmatch(path):  # redis-py would take database 0
            raise ValueError("after the host comes the database's number, such as redis://host:6379/0")
        return value

    @field_validator("tls_ca", "tls_cert", "tls_key", mode="before")
    @classmethod
    def _no_file(cls, value: Any) -> Any:
        return value or None  # a reader's URL may take away the settings' own

    @model_validator(mode="after")
    def _tls_where_it_can_be(self) -> RedisSettings:
        if (any((self.tls_ca, self.tls_cert, self.tls_key)) or not self.tls_verify) and not _is_tls(self.url):
            scheme = urlsplit(self.url).scheme
            raise ValueError(f"BRIDGE_REDIS_TLS_*: only used with rediss://, but BRIDGE_REDIS_URL says {scheme}://")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("BRIDGE_REDIS_TLS_CERT and BRIDGE_REDIS_TLS_KEY: give both or neither")
        return self

    def client(self) -> RedisClient:
        """Return a client of that server, not connected yet."""
        return RedisClient(self.url, self.tls_options())

    def tls_options(self) -> dict[str, Any]:
        """Return redis-py's options `ssl_*`."""
        files = {"ssl_ca_certs": self.tls_ca, "ssl_certfile": self.tls_cert, "ssl_keyfile": self.tls_key}
        options: dict[str, Any] = {name: str(file) for name, file in files.items() if file}
        if not self.tls_verify:
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        return options


def _is_tls(url: str) -> bool:
    return urlsplit(url).scheme in ("rediss", "rediss+sentinel", "rediss+cluster")


def merged_url(parts: SplitResult, query: Mapping[str, str], settings_url: str | None) -> str:
    """Return the URL, with user, password and options of the settings' where it has none of its own."""
    netloc = parts.netloc
    if settings_url is not None:
        own = urlsplit(settings_url)
        query = {**dict(parse_qsl(own.query)), **query}
        if "@" not in netloc and "@" in own.netloc:
            netloc = f"{own.netloc.rpartition('@')[0]}@{netloc}"
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query), ""))


def streams(settings: RedisSettings) -> list[bytes]:
    """Return the names of all streams that the settings mean."""
    names = dict.fromkeys(settings.stream.replace("{group}", group) for group in ("task", "worker", "other"))
    if settings.shards == 1:
        return [name.encode() for name in names]
    return [b"%b:{%d}" % (name.encode(), shard) for name in names for shard in range(settings.shards)]


def from_url(url: str, settings: RedisSettings) -> dict[str, str]:
    """Return the settings that a reader's URL gives, by field; user and password are those of the settings for the
    same server.
    """
    if not _is_tls(url):
        return _from_url(url, settings) | NO_TLS  # those of the settings are for their server
    return _from_url(url, settings)


def _from_url(url: str, settings: RedisSettings) -> dict[str, str]:
    parts, own = urlsplit(url), urlsplit(settings.url)
    query = dict(parse_qsl(parts.query))
    fields = {name: query.pop(name) for name in IN_URL if name in query}
    try:
        same = (parts.hostname, parts.port or 6379) == (own.hostname, own.port or 6379)
    except ValueError:
        # Several hosts, or a port that is none, of which the settings say what is wrong.
        same = parts.netloc.rpartition("@")[2] == own.netloc.rpartition("@")[2]
    if not same or parts.scheme != own.scheme:
        return {"url": merged_url(parts, query, None), **fields}
    merged = merged_url(parts, query, settings.url)
    # With a password of the settings, which may be replaced in its file.
    secret_files.derive(merged, settings.url, lambda fresh: merged_url(parts, query, fresh))
    return {"url": merged, **fields}
