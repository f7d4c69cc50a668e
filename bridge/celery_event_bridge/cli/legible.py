"""Text from elsewhere, as a terminal may show it."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def legible(text: str) -> str:
    """Write it on one line, with what would move a cursor or has no encoding written out."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
