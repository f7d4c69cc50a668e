"""Secrets never get into a log, an error or a page.

A text that was given as a URL is taken apart, and put together again without what may be a secret. What cannot be taken
apart is not repeated at all: a password with an @ or a line end in it, or a forgotten @, makes a password of any part.
"""

from __future__ import annotations

import json
import re

_HOST = r"(?:[\w.~-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?"
_URL = re.compile(
    rf"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://"
    rf"(?:(?P<user>[^\s:/?#@;]*)(?P<password>:[^\s/?#@]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)?"
    r"(?P<path>/(?:[\w./~+{}-]|%(?!40)[\da-fA-F]{2})*)?"
    r"(?:\?(?P<query>[^\s#]*))?",
    re.ASCII,
)
_SCHEMES = frozenset(
    ("amqp", "amqps", "pyamqp", "redis", "rediss", "redis+cluster", "redis+sentinel", "sentinel", "valkey", "valkeys")
) | {"rediss+cluster", "rediss+sentinel", "unix", "kafka", "sqlite"}
"""Schemes that are shown of a URL that cannot be taken apart."""
_SHOWN = frozenset(
    {"channel_max", "confirm_publish", "connect_timeout", "db", "frame_max", "health_check_interval", "heartbeat"}
    | {"login_method", "max_connections", "protocol", "read_timeout", "retry_on_timeout", "shards", "socket_timeout"}
    | {"socket_connect_timeout", "socket_keepalive", "ssl", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile"}
    | {"ssl_check_hostname", "ssl_keyfile", "stream", "timeout", "write_timeout"}
)
"""Parameters of a URL whose values are shown."""
_NUMBERED = frozenset({"redis", "rediss", "valkey", "valkeys"})
"""Schemes of URLs whose path is a number, or something that is in the wrong place."""
_NUMBER = re.compile(r"(?:/*\d{0,5}/*)?", re.ASCII)
_METHODS = re.compile(r"(?:AMQ)?PLAIN|EXTERNAL|GSSAPI|ANONYMOUS", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.,:/@{}+-]{1,200}", re.ASCII)
_BETWEEN = re.compile(r";(?=\s*[a-zA-Z][\w+.-]*:/)")
_BEGINNING = re.compile(r"\s*([a-zA-Z][\w+.-]*:///*[^:/@\s;]*):")
_NO_HOST = re.compile(r"[\s\x00-\x1f\x7f\"'{}\\|$<>]")

# Within a text that somebody else has written: up to the last @, since a password may hold one that was not encoded;
# a ; parts two URLs only before a scheme.
_PASSWORD_IN_URL = re.compile(r"(:///*[^:/@\s;]*):(?:(?!;\s*[a-zA-Z][\w+.-]*://)\S)*@|(://)[^/\s;@]+@")
# With a blank in it, which no URL may have and somebody will type: up to the last @ before any path.
_BLANK_IN_PASSWORD = re.compile(r"(://[^:/@\s;]*):(?!\*\*@)[^\n/]*@")
# A port that is none: the @ was forgotten, or encoded.
_PORT = re.compile(r"(:///*[^\s:/@?#;,\[\]]*):(?!\*\*@)(?!\d{1,5}(?![\w%]))[^\s/?#,;'\")]+")
_TOKEN = re.compile(r"[a-zA-Z][\w+.-]{0,30}://[^\s'\"<>]*[^\s'\"<>.,;:)\]]")
_NO_LOGIN = re.compile(r"[?{}\[\]\"'\x00-\x1f\x7f]")
"""Text before the last @ of something else than a URL, or of its parameters, one of which may hold that @."""
_WORD = re.compile(r"[^\W_]{4,}")
_WORDS = r"password|passwd|passphrase|secret|token|login_response|credential"
_IN_QUERY = re.compile(rf"([?&][\w.-]*(?:{_WORDS})[\w.-]*=)(?!\*\*(?:[:;,]?\s|$))[^&\s]+", re.IGNORECASE)
_IN_JSON = re.compile(
    rf"""((["'])[\w.-]*(?:{_WORDS})[\w.-]*\2\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}}\]]+)""",
    re.IGNORECASE,
)
_KNOWN = frozenset(word for names in (_SCHEMES, _SHOWN) for name in names for word in _WORD.findall(name)) | frozenset(
    ("password", "passwd", "passphrase", "secret", "token", "login", "response", "credential", "guest", "user", "host")
)
"""Words that are hidden in no message: our own texts have them."""
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|credential|private|pem\b|jaas|oauthbearer_(?:config|extensions)|kinit_cmd|"
    r"login_response|(?<!tls)_key$",
    re.IGNORECASE,
)
_SUSPICIOUS = re.compile(
    rf"[@{{}}\x00-\x1f\x7f\"']|:/|//|%[0-9a-fA-F]{{2}}|{_WORDS}|^\s*(?:{'|'.join(map(re.escape, _SCHEMES))}):",
    re.IGNORECASE,
)
"""Pattern of a value that is a URL, JSON or a command in the wrong place."""
_PATH = re.compile(
    r"(?:~[\w-]*|\.{1,2})?/(?:[\w.+~-]+/)*[\w.+~-]*|"
    r"(?:[\w.+~-]+/)*[\w.+~-]+\.(?:db|sqlite3?|pem|crt|key|jks|p12|keytab|toml|json|conf)"
)
"""Pattern of a path, which may have any word in it: from the root, a home or a dot, or of a file of a known kind. There
is no user, no parameter and no blank in it."""
_SQLITE = "sqlite:///"


def hide_secrets(text: str) -> str:
    """Return the text with two asterisks for each password in it: in a URL, its query, or in JSON."""
    text = _PASSWORD_IN_URL.sub(lambda match: f"{match[1]}:**@" if match[1] else f"{match[2]}**@", text)
    text = _BLANK_IN_PASSWORD.sub(r"\1:**@", text)
    text = _PORT.sub(r"\1:**", text)
    text = _TOKEN.sub(lambda match: _without_secrets(url) if (url := _URL.fullmatch(match[0])) else match[0], text)
    return _IN_JSON.sub(r"\1\2**\2", _IN_QUERY.sub(r"\1**", text))


def hide_in_url(text: str) -> str:
    """Return what was given as a URL, or several with ; between them, without secrets; asterisks where it is none."""
    parts = []
    for part in _BETWEEN.split(text):
        url = _URL.fullmatch(part.strip())
        parts.append(_without_secrets(url) if url and not _is_cut(url) else _of_none(part))
    return ";".join(parts)


def hide_in_value(text: str) -> str:
    """Return the value of a setting as it may be shown: as it is, if it has nothing of a URL, JSON or several lines."""
    if _is_path(text) or _is_of_folders(text):
        return text
    suspicious = _SUSPICIOUS.search(text.replace("{group}", ""))  # which a topic and a stream may have
    return hide_in_url(text) if suspicious and re.search(r"\w", text) else text


def hide_of(text: str, given: str, of: str = "") -> str:
    """Return a message without what may be a secret in the value it is about, `of` a variable, as somebody else has it.

    Whatever of the value is not shown either is hidden: the value as it was given or quoted, and each of its words.
    """
    shown = "**" if is_secret(of) else hide_in_value(given)
    if shown == given:
        return text
    for written in (given, repr(given)[1:-1]):
        text = text.replace(written, shown)
    kept = {word.lower() for word in _WORD.findall(shown)} | _KNOWN
    for word in sorted({word for word in _WORD.findall(given) if word.lower() not in kept}, key=len, reverse=True):
        text = text.replace(word, "**")
    return text


def is_secret(name: str) -> bool:
    """Return whether a variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def _without_secrets(url: re.Match[str]) -> str:
    user = "" if url["user"] is None else f"{url['user']}:**@" if url["password"] is not None else "**@"
    path = url["path"] or ""
    if url["scheme"].lower() in _NUMBERED and not _NUMBER.fullmatch(path):
        path = "/**"
    return f"{url['scheme']}://{user}{url['hosts'] or ''}{path}{_parameters(url['query'])}"


def _is_cut(url: re.Match[str]) -> bool:
    """Return whether a ? was not encoded: it makes a host of the user, and a port of the password's beginning."""
    pairs = (url["query"] or "").split("&") if url["user"] is None else []
    return any("@" in pair and pair.partition("=")[0] not in _SHOWN for pair in pairs)


def _is_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text.removeprefix(_SQLITE)))


def _is_of_folders(text: str) -> bool:
    """Return whether the text is a JSON object of paths and numbers, as the options of the transport `filesystem`."""
    try:
        options = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(options, dict) and all(
        not _SECRET_NAME.search(name)
        and (_is_path(value) if isinstance(value, str) else isinstance(value, int | float))
        for name, value in options.items()
    )


def _of_none(text: str) -> str:
    """Hide in what is no URL: nothing before the last @ stays, and nothing at all without one, or of several lines."""
    if text.startswith(_SQLITE) and _is_path(text):  # a URL's path has letters of ASCII alone
        return text
    before, at, after = text.rpartition("@")
    if at and not _NO_HOST.search(after) and not _NO_LOGIN.search(before):
        beginning = _BEGINNING.match(before)
        path, _, query = after.partition("?")
        return f"{beginning[1] + ':' if beginning else ''}**@{path}{_parameters(query or None)}"
    if not _SUSPICIOUS.search(text) and ":" not in text:
        return text
    scheme = text.strip().partition("://")[0]
    return f"{scheme}://**" if scheme in _SCHEMES else "**"


def _parameters(query: str | None) -> str:
    if query is None:
        return ""
    pairs = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        plain = _METHODS if name == "login_method" else _PLAIN
        good = equals and (len(value) < 4 or (name in _SHOWN and plain.fullmatch(value)))
        pairs.append(pair if good else f"{name}=**" if equals and name.isidentifier() else "**")
    return f"?{'&'.join(pairs)}"
