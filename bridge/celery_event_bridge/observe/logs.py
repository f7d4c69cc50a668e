"""Logs: structlog to standard error, a line of JSON each, or for people where that is a terminal."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from celery_event_bridge.contract.secrets import hide_secrets
from celery_event_bridge.observe.stderr import Unfailing

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor

NOTICE_FIELDS = ("kind", "count")
"""Fields that `contract.notices` gives beside its text."""
LONGEST = 10_000
"""Characters of a log line's text, of whatever others have put into it."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(log_format: str | None, level: str) -> None:
    """Set up structlog, and send what libraries log through the standard library the same way."""
    console = log_format == "console" or (log_format is None and sys.stderr.isatty())
    stream = cast("TextIO", Unfailing(sys.stderr, _said_of_dropped if console else _dropped_in_json))
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not console),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    renderer: Processor = structlog.processors.JSONRenderer()
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    foreign: list[Processor] = [structlog.stdlib.ExtraAdder(allow=NOTICE_FIELDS), *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=foreign))
    logging.basicConfig(handlers=[handler], level=max(LEVELS[level], logging.WARNING), force=True)
    logging.getLogger("celery_event_bridge").setLevel(LEVELS[level])  # notices, of which some are no warnings
    # It warns of each delivery that arrives on a channel we have closed on purpose.
    logging.getLogger("amqp").setLevel(logging.ERROR)
    # It tells of each attempt to reach a broker that is away, and of each that was refused; the relay says so once.
    logging.getLogger("librdkafka").setLevel(logging.WARNING if level == "debug" else logging.CRITICAL + 1)


def _said_of_dropped(lines: int) -> str:
    return f"{lines} lines of this log were dropped: whoever reads it stood still\n"


def _dropped_in_json(lines: int) -> str:
    event = _said_of_dropped(lines).rstrip()
    return json.dumps({"event": event, "lines": lines, "level": "warning"}) + "\n"


def _without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets, as a last net: a URL's password, in whatever text of a library's, does not get into a log."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = hide_secrets(_shortened(value))
    return event


def _shortened(text: str) -> str:
    """Cut at a blank, since what hides secrets has to see the whole of one; and it may take a second for a megabyte."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST].rpartition(' ')[0]} ... ({len(text):,} characters)".lstrip()
