"""Answers of the live system on tasks without an end: its workers, and its result backend. It alone imports Celery.

Nothing is unpickled: workers' answers have to be JSON, and results are read as the bytes that they are stored as, which
only key-value backends allow. What is learnt goes into the report, never into the stream.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from celery_event_bridge.audit.verdicts import Open

PATIENCE = 2.0
"""Seconds in which workers have to answer; each of three questions takes as long."""
ASKED = 10_000
"""Tasks that are asked about at most, the oldest first."""
CHUNK = 500
"""Results that are read at a time."""
ENDED = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"})


class AppNotFound(Exception):
    """Absence of such an app. The text says why."""


class Live:
    """A Celery app that is asked."""

    def __init__(self, name: str) -> None:
        """`name` as for `celery -A`. Raises AppNotFound."""
        self._name = name
        self._app = app = _find(name)
        app.conf.accept_content = ["json"]
        app.conf.result_accept_content = ["json"]
        app.control.mailbox.accept = ["json"]

    def ask(self, tasks: Sequence[Open], horizon: int) -> str:
        """Write into each task what is said of it. Returns who was asked, and who could not be.

        A result of before `horizon`, in microseconds since 1970 UTC, means that the task's end is missing.
        """
        tasks = tasks[:ASKED]
        where, said = self._on_workers()
        results, also = self._results([task.uuid for task in tasks if task.uuid not in where])
        for task in tasks:
            if (found := where.get(task.uuid)) is not None:
                task.live = found
                # It was begun again, or its worker was wrong.
                task.state = "running" if task.state == "ended" else task.state
            elif (result := results.get(task.uuid)) is not None:
                task.live, task.live_ended = _result(result, horizon)
            else:
                task.live = "unknown"
        return f"{said}; {also}"

    def _on_workers(self) -> tuple[dict[str, str], str]:
        """Return where each task is, by uuid."""
        found: dict[str, str] = {}
        names: set[str] = set()
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=5)
                inspect = self._app.control.inspect(timeout=PATIENCE, connection=connection)
                for question, answer in (
                    (inspect.scheduled, "waits in {} for its time"),
                    (inspect.reserved, "waits in {}"),
                    (inspect.active, "runs in {}"),
                ):
                    replies = question() or {}
                    names |= {str(worker) for worker in replies}
                    found |= _places(replies, answer)
        except Exception as exc:  # noqa: BLE001 - whatever a client library makes of a broker that is away
            return found, f"workers could not be asked: {_line(exc)}"
        if not names:
            return found, "no worker has answered"
        return found, f"{len(names)} workers have answered: {', '.join(sorted(names)[:20])}"

    def _results(self, uuids: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
        """Return what the result backend has, by uuid."""
        from celery.backends.base import BaseKeyValueStoreBackend, DisabledBackend

        found: dict[str, Mapping[str, Any]] = {}
        try:
            backend = self._app.backend
            if isinstance(backend, DisabledBackend):
                return found, "the app has no result backend"
            if not isinstance(backend, BaseKeyValueStoreBackend):
                return found, f"results of a {type(backend).__name__} are not read: they may be pickles"
            for first in range(0, len(uuids), CHUNK):
                some = uuids[first : first + CHUNK]
                for uuid, payload in zip(some, _payloads(backend, some), strict=False):
                    if payload:
                        found[uuid] = _decoded(payload)
        except Exception as exc:  # noqa: BLE001 - as above
            return found, f"results could not be read: {_line(exc)}"
        return found, "results were read"


def _find(name: str) -> Any:
    try:
        from celery.app.utils import find_app
    except ModuleNotFoundError:
        raise AppNotFound("Celery is not installed here: pip install celery") from None
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `celery` does
    try:
        app = find_app(name)
    except Exception as exc:
        raise AppNotFound(f"it cannot be imported: {_line(exc)}") from exc
    if not hasattr(app, "control"):
        raise AppNotFound("it is no Celery app")
    return app


def _places(replies: Mapping[str, Any], answer: str) -> dict[str, str]:
    found = {}
    for worker, entries in replies.items():
        for entry in entries if isinstance(entries, list) else ():
            one = entry.get("request", entry) if isinstance(entry, dict) else None
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                found[one["id"]] = answer.format(worker)
    return found


def _payloads(backend: Any, uuids: Sequence[str]) -> Iterable[Any]:
    keys = [backend.get_key_for_task(uuid) for uuid in uuids]
    many: Callable[[Sequence[Any]], Iterable[Any]] = backend.mget
    try:
        return many(keys)
    except NotImplementedError:
        return [backend.get(key) for key in keys]


def _decoded(payload: Any) -> Mapping[str, Any]:
    """Empty where it is not a result's JSON."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _result(result: Mapping[str, Any], horizon: int) -> tuple[str, bool]:
    """Return what a result says, and whether the task had ended by then."""
    status, done = result.get("status"), result.get("date_done")
    if not isinstance(status, str):
        return "has a result that is not JSON", False
    if status not in ENDED:
        return f"{status} by its result, and on no worker that has answered", False
    at = _moment(done)
    return f"{status} by its result" + ("" if at is None else f", {done}"), at is None or at <= horizon


def _moment(text: object) -> int | None:
    try:
        at = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp() * 1e6)


def _line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:200]
