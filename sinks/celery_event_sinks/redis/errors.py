"""Meaning of Redis's error replies: about the command, the login, or a server that is not the right one any more."""

from __future__ import annotations

import re

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)

from celery_event_bridge.contract.tls import tls_remedy

_OF_CLASS: dict[type[Exception], str] = {
    AskError: "ASK",
    BusyLoadingError: "LOADING",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    MovedError: "MOVED",
    NoPermissionError: "NOPERM",
    NoScriptError: "NOSCRIPT",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    TryAgainError: "TRYAGAIN",
}
"""redis-py has classes for some codes and takes these out of the text; before version 7 they are nowhere else."""
_CODE = re.compile(r"[A-Z][A-Z_]+(?= |$)")
_IN_SCRIPT = re.compile(r"-(READONLY|MASTERDOWN|CLUSTERDOWN|LOADING|NOREPLICAS|MISCONF|OOM) ")
"""Before Redis 7 an error within a script has a code of its own behind that of the script."""
OF_THE_COMMAND = frozenset(
    ("", "ERR", "WRONGTYPE", "NOPERM", "BUSYGROUP", "BUSYKEY", "NOGROUP", "NOSCRIPT", "EXECABORT", "CROSSSLOT")
)
"""Another connection would get the same answer. Every other code is about the state of the server."""
NO_TLS = "it speaks no TLS on that port: redis:// instead of rediss://"
NO_STREAMS = "it is a sentinel, or no Redis of version 5 or newer; give the address of the master itself"
OF_A_CLUSTER = frozenset(("MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT", "TRYAGAIN"))
OF_THE_LOGIN = frozenset(("NOAUTH", "WRONGPASS", "NOPERM"))


def code_of(error: BaseException) -> str:
    """Return `READONLY` or the like; the empty text where the error has no code."""
    code = getattr(error, "status_code", None)
    if code:
        return str(code)
    if isinstance(error, AuthenticationError):
        return "NOAUTH" if "required" in str(error) else "WRONGPASS" if "username-password" in str(error) else ""
    for kind, name in _OF_CLASS.items():
        if isinstance(error, kind):
            return name
    found = _CODE.match(str(error))
    return found[0] if found else ""


def is_of_the_server(error: BaseException) -> bool:
    """Return whether the server cannot serve now, so that the name may lead to another one by now.

    A demoted master keeps its connections and says READONLY on them for ever; one that is cut off says NOREPLICAS.
    """
    return code_of(error) not in OF_THE_COMMAND or _IN_SCRIPT.search(str(error)) is not None


def is_of_another_type(reply: object) -> bool:
    """Return whether the key that was asked for is there, and is no stream."""
    return isinstance(reply, Exception) and code_of(reply) == "WRONGTYPE"


def is_of_the_login(error: BaseException) -> bool:
    """Return whether another user or password may help."""
    return isinstance(error, AuthenticationError) or code_of(error) in OF_THE_LOGIN


def remedy_of(error: BaseException) -> str:
    """Return what to do where the server is of a kind that is not served, or TLS fails; else the empty text."""
    if code_of(error) in OF_A_CLUSTER:
        return "it is a node of a Redis Cluster: redis+cluster:// instead of redis://"
    text = str(error)
    if "cluster support disabled" in text:
        return "it is in no Redis Cluster: redis:// instead of redis+cluster://"
    return tls_remedy(text, "BRIDGE_REDIS_TLS", NO_TLS) or (NO_STREAMS if "unknown command" in text else "")


def is_protocol_error(reply: object) -> bool:
    """Return whether Redis says so of a value over its `proto-max-bulk-len`; it ends the connection then."""
    return isinstance(reply, Exception) and "Protocol error" in str(reply)


def ends_the_connection(error: BaseException) -> bool:
    """Return whether nothing more is to be had on this connection."""
    return is_of_the_server(error) or is_protocol_error(error)
