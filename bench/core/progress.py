"""Progress reporting, independent of the listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

Advance = Callable[..., None]


class Progress(Protocol):
    """Receives steps of named tasks and one-line notes."""

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """Open a task of which ``done`` is complete; call the result with ``n`` (and ``done=True`` at its end)."""

    def note(self, text: str) -> None:
        """Report one line."""


class Silent:
    """A listener that ignores everything."""

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """Ignore the task."""
        return lambda n=1, done=False: None

    def note(self, text: str) -> None:
        """Ignore the line."""


@contextmanager
def stage(progress: Progress, title: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """A task that is closed however its work ends."""
    advance = progress.task(title, total, unit, done)
    try:
        yield advance
    finally:
        advance(0, done=True)
