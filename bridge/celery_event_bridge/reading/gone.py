"""Records that were gone from the stream before a reader came to them: told of."""

from __future__ import annotations

from celery_event_bridge.contract import notices


def tell(count: int, group: str | None, reader: int) -> None:
    """Tell how many were gone before this group, or this reader without one, came to them."""
    who = "this reader" if group is None else f"the group {group!r}"
    notices.tell(
        "skipped",
        f"{_records(count)} gone from the stream before {who} came to {'it' if count == 1 else 'them'}, at least: "
        "keep them for longer (retention, trim) than its readers may be behind, and remove no stream that is being "
        "read",
        subject=f"{reader}" if group is None else group,
        count=count,
        logger="celery_event_bridge.reader",
    )


def in_all(count: int) -> str:
    """Return the words for a result: how many were gone."""
    return f"at least {_records(count)} gone from the stream before {'it was' if count == 1 else 'they were'} read"


def _records(count: int) -> str:
    return "1 record was" if count == 1 else f"{count} records were"
