"""Records that were gone from the stream before a reader came to them: told of."""

from __future__ import annotations

from celery_event_bridge.contract import notices


def tell(count: int, group: str | None, reader: int) -> None:
    """Tell how many were gone before this group, or this reader without one, came to them."""
    who = "this reader" if group is None else f"the group {group!r}"
    notices.tell(
        "skipped",
        f"{count} records were gone from the stream before {who} came to them: keep them for longer (retention, "
        "trim) than its readers may be behind",
        subject=f"{reader}" if group is None else group,
        count=count,
        logger="celery_event_bridge.reader",
    )
