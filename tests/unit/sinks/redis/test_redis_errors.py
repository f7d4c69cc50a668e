"""What an error of Redis's is about, by its code: the connection is made anew for some, and kept for others."""

from __future__ import annotations

import pytest
from redis.connection import _RESP2Parser  # type: ignore[attr-defined, unused-ignore]

from celery_event_sinks.redis.errors import code_of, ends_the_connection, is_of_the_login


def error(text: str) -> Exception:
    return _RESP2Parser.parse_error(text)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize(
    "text",
    [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "CLUSTERDOWN The cluster is down",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MOVED 12950 127.0.0.1:7001",
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write",
        "ERR Protocol error: invalid bulk length",
    ],
)
def test_an_error_of_the_server_ends_the_connection(text: str) -> None:
    """The name may lead to another server by now."""
    assert ends_the_connection(error(text))


@pytest.mark.parametrize(
    "text",
    [
        "ERR unknown command 'XADD'",
        "ERR The ID specified in XADD must be greater than 0-0",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOPERM this user has no permissions to run the 'xadd' command",
        "NOGROUP No such key 's' or consumer group 'g'",
        "BUSYGROUP Consumer Group name already exists",
        "NOSCRIPT No matching script.",
    ],
)
def test_an_error_of_the_command_keeps_it(text: str) -> None:
    """Another connection would have the same answer."""
    assert not ends_the_connection(error(text))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NOAUTH Authentication required.", "NOAUTH"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
        ("NOPERM this user has no permissions to run the 'xadd' command", "NOPERM"),
    ],
)
def test_an_error_of_the_login(text: str, code: str) -> None:
    """Its code is known, and another password may help."""
    assert is_of_the_login(error(text))
    assert code_of(error(text)) == code
