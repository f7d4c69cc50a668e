"""Secrets never get into a log, an error or a page: by the look of a URL, or by the name of what holds them."""

from __future__ import annotations

import re

# Up to the last @, since a password may hold one that was not encoded; a ; parts two URLs only before a scheme.
_PASSWORD_IN_URL = re.compile(r"(:///*[^:/@\s;]*):(?:(?!;\s*[a-zA-Z][\w+.-]*://)\S)*@|(://)[^/\s;@]+@")
# With a blank in it, which no URL may have and somebody will type: up to the last @ before any path.
_BLANK_IN_PASSWORD = re.compile(r"(://[^:/@\s;]*):(?!\*\*@)[^\n/]*@")
# What should have been a URL, alone or after a ;, and does not begin as one: up to its last @.
_PASSWORD_IN_NONE = re.compile(r"(^|;)(?!\s*[a-zA-Z][\w+.-]*://\S)(?:(?!;\s*[a-zA-Z][\w+.-]*://).)*@", re.DOTALL)
_QUOTED = re.compile(r"'([^'\n]*@[^'\n]*)'")
_WORDS = "password|passwd|secret|token"
_IN_QUERY = re.compile(rf"([?&][\w.-]*(?:{_WORDS})[\w.-]*=)[^&\s]+", re.IGNORECASE)
_IN_JSON = re.compile(
    rf"""((["'])[\w.-]*(?:{_WORDS})[\w.-]*\2\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}}\]]+)""",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential|private|pem\b|jaas|oauthbearer_config|(?<!tls)_key$", re.IGNORECASE
)


def hide_secrets(text: str) -> str:
    """The text with two asterisks for each password in it: in a URL, its query, or in JSON."""
    text = _PASSWORD_IN_URL.sub(lambda match: f"{match[1]}:**@" if match[1] else f"{match[2]}**@", text)
    text = _BLANK_IN_PASSWORD.sub(r"\1:**@", text)
    return _IN_JSON.sub(r"\1\2**\2", _IN_QUERY.sub(r"\1**", text))


def hide_in_url(text: str) -> str:
    """As `hide_secrets`, of what was given as a URL or several: also where a part of the `://` is missing."""
    return _PASSWORD_IN_NONE.sub(r"\1**@", hide_secrets(text))


def hide_in_quotes(text: str) -> str:
    """As `hide_secrets`, of a message that quotes what was typed: a URL in the wrong place, mistyped or not."""
    return _QUOTED.sub(lambda match: f"'{hide_in_url(match[1])}'", hide_secrets(text))


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))
