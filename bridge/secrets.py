"""Secrets never get into a log, an error or a page: by the look of a URL, or by the name of what holds them."""

from __future__ import annotations

import re

# Up to the last @, since a password may hold one that was not encoded; a ; parts two URLs.
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s;]*):[^\s;]*@|(://)[^/\s;@]+@")
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential|private|pem\b|jaas|oauthbearer_config|(?<!tls)_key$", re.IGNORECASE
)


def hide_secrets(text: str) -> str:
    """The text with two asterisks for the password of each URL in it."""
    return _PASSWORD_IN_URL.sub(lambda match: f"{match[1]}:**@" if match[1] else f"{match[2]}**@", text)


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))
