"""Values out of a variable's text: sizes, durations, lists, addresses.

Each parser takes what is no text as it is, so that defaults and tests can give values, and raises ValueError with
a text that says what is allowed.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LARGEST = 2**63 - 1
"""Bytes; RabbitMQ's arguments are signed numbers of 64 bits."""
LONGEST = 1e9
"""Seconds, some 31 years: more than that is a slip of the keyboard."""
SHORTEST_RETENTION = 3600.0
"""Seconds; a shorter one is taken for a slip of the keyboard, and told of."""
LONGEST_NAME = 200
"""Bytes."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw]?)", re.IGNORECASE)


def size(value: Any) -> Any:
    """`16MiB`, `4GiB`, `100kB` or plain bytes, to a number of bytes."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match or match[2].lower() not in _UNITS:
        raise ValueError("expected a size such as 16MiB, 500kB or 1048576")
    number = float(match[1]) * _UNITS[match[2].lower()]
    if number > LARGEST:
        raise ValueError("expected a size below 2^63 bytes")
    return int(number)


def duration(value: Any) -> Any:
    """`30`, `0.5`, `10m`, `7d`, to seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        raise ValueError("expected seconds or a duration such as 0.5, 30, 10m or 7d")
    return float(match[1]) * _SECONDS[match[2].lower()]


def retention(value: Any) -> Any:
    """Parse as `duration` does, but always with a unit: 30 that was meant as days removes nearly everything."""
    number = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"\d+(?:\.\d+)?", number) and 0 < float(number) <= LONGEST:
        raise ValueError(f"expected a unit: {number}d for days, {number}s for seconds")
    return duration(value)


def retention_or_never(value: Any) -> Any:
    """Parse as `retention` does; `never` is None."""
    if isinstance(value, str) and value.strip().lower() == "never":
        return None
    try:
        return retention(value)
    except ValueError as exc:
        raise ValueError(f"{exc}, or never") from None


def too_short(seconds: float | None) -> str:
    """Return what is to be said of a retention under an hour, else an empty text."""
    if seconds is None or seconds >= SHORTEST_RETENTION:
        return ""
    return (
        f"events are removed {seconds:g} s after they were stored; a reader that is away for longer misses them. "
        "Give at least 1h, or never"
    )


def in_a_lifetime(value: float | None) -> float | None:
    """Refuse what some wait of Python's or some server does not take as a time; None is never."""
    if value is not None and value > LONGEST:
        raise ValueError("expected at most 31 years")
    return value


def not_reserved(value: str) -> str:
    """Refuse a queue's name that only the broker may give."""
    if value.startswith("amq."):
        raise ValueError("names that begin with amq. are RabbitMQ's own; choose another one")
    return value


def short_name(value: str) -> str:
    """Return a name that AMQP can carry, which has 255 bytes, of which a queue's suffix needs some."""
    no_url(value)
    if len(value.encode(errors="surrogateescape")) > LONGEST_NAME:
        raise ValueError(f"expected at most {LONGEST_NAME} bytes")
    return value


LONGEST_GROUP = 255
"""Characters. Kafka takes the connection down for a name of 40,000, and says nothing."""
_IN_PATTERNS = re.compile(r"[,*?\[\]!]")
_LIKE_A_URL = re.compile(r":/|//|:[^@\s]*@|^\s*[\[{]\s*[\[{\"']")


def no_url(value: str) -> str:
    """Refuse a name that looks like a URL or JSON: names are shown, and so would be the password in it."""
    if _LIKE_A_URL.search(value):
        raise ValueError("expected a name, not a URL or JSON")
    return value


def group_name(value: str) -> str:
    """Return the name of a group of readers. Raises ValueError where no stream could keep it."""
    if not value.strip():
        raise ValueError("expected a name")
    if len(value) > LONGEST_GROUP:
        raise ValueError(f"{len(value)} characters, expected {LONGEST_GROUP} at most")
    return no_url(value)


def broker_name(value: str) -> str:
    """Return the name of a broker. Raises ValueError where people could not read it, or pick by it."""
    if not value.strip():
        raise ValueError("expected a name")
    short_name(value)
    if not value.isprintable() or value != value.strip():
        raise ValueError("expected characters that can be printed, and no blank at an end")
    if value.startswith("+") or _IN_PATTERNS.search(value):
        raise ValueError("expected a name without , * ? [ ] ! and no + before it: by these, names are picked")
    return value


def words(value: Any) -> Any:
    """`a, b` to ("a", "b"), each once."""
    if not isinstance(value, str):
        return value
    parts = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not parts:
        raise ValueError("expected at least one name")
    return parts


def patterns(value: Any) -> Any:
    """`task-*,!task-received` to its parts."""
    parts = words(value)
    if any(part.lstrip("!+") == "" or part.startswith("!!") for part in parts):
        raise ValueError("expected event types separated by commas, such as task-*,!worker-heartbeat")
    return parts


def address(value: Any) -> Any:
    """`127.0.0.1:9810`, `[::1]:9810` or `off` to (host, port) or None."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "off":
        return None
    host, _, port = value.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or re.search(r"[\s/@?#\[\];,]", host) or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9810, or off")
    return host, int(port)


def is_one_line(text: str) -> bool:
    """Return whether no line ends within the text, and no tab is: what takes a URL apart leaves them out in silence."""
    return not re.search(r"[\t\r\n]", text.strip())


def is_http_url(text: str) -> bool:
    """Return whether the text is the URL of a server that speaks HTTP."""
    try:
        parts = urlsplit(text)
        elsewhere = parts.path + parts.query + parts.fragment
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return good and "@" not in elsewhere and is_one_line(text)
    except ValueError:
        return False


Size = Annotated[int, BeforeValidator(size)]
"""Bytes."""
Name = Annotated[str, AfterValidator(no_url)]
"""Name of a stream, say."""
ShortName = Annotated[str, AfterValidator(short_name)]
"""Name of a queue or an exchange."""
BrokerName = Annotated[str, AfterValidator(broker_name)]
"""Name of a broker."""
QueueName = Annotated[ShortName, AfterValidator(not_reserved)]
"""Name of a queue that we may declare."""
Seconds = Annotated[float, BeforeValidator(duration), AfterValidator(in_a_lifetime)]
OptionalRetention = Annotated[float | None, BeforeValidator(retention_or_never), AfterValidator(in_a_lifetime)]
"""Seconds after which events are removed, or None for never."""


def as_text(value: object) -> str:
    """Return what somebody has put into a header as people read it: bytes that are not UTF-8 are written out."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)


def counted(count: int, noun: str) -> str:
    """Return how many of what, as people say it: `1 event`, `2 events`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def with_remedy(said: str, remedy: str) -> str:
    """Return what a client or a server says, which may end with a stop or a colon, in a line with what to do."""
    line = " ".join(said.split())
    return f"{line.rstrip(' .:;,')}: {remedy}" if remedy else line
