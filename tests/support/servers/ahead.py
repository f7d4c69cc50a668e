"""Servers that tests share, started one after the other while tests run that need none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Any


class Ahead:
    """Servers by name, and how to have each."""

    def __init__(self, makers: Mapping[str, Callable[[], AbstractContextManager[Any]]]) -> None:
        self._makers = makers
        self._started: dict[str, Future[Any]] = {}
        self._stack = ExitStack()
        self._beside = ThreadPoolExecutor(1)

    def begin(self, wanted: Collection[str]) -> None:
        """Start those of these names, in the order in which they were made known."""
        for name in self._makers:
            if name in wanted and name not in self._started:
                self._started[name] = self._beside.submit(self._start, name)

    def server(self, name: str) -> Any:
        """It answers. Raises what its start has raised, each time."""
        self.begin([name])
        return self._started[name].result()

    def close(self) -> None:
        """End them all, also one that is being started."""
        self._beside.shutdown(cancel_futures=True)
        self._stack.close()

    def _start(self, name: str) -> Any:
        return self._stack.enter_context(self._makers[name]())
