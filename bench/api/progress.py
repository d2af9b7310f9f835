"""Progress on standard error: live bars with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.api.notebook import NotebookBars, in_notebook
from bench.core.progress import Advance, Silent
from bench.core.progress import Progress as Listener

_EVERY = 5.0  # seconds between plain lines


class Rate(ProgressColumn):
    """Units per second, recently."""

    def render(self, task: Task) -> Text:
        """E.g. ``16.7/s``."""
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


class Bars:
    """Live bars."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """A bar that remains when it is full."""
        bar = self._bars.add_task(title, total=total, unit=unit, completed=done)

        def advance(n: int = 1, done: bool = False) -> None:
            self._bars.advance(bar, n)
            if done:
                self._bars.stop_task(bar)

        return advance

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


class Lines:
    """A line when a task starts, every few seconds, and when it ends."""

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """Lines such as ``attack and judge: 200/500 images, 12 s, 16.7 images/s, 18 s left``."""
        start = last = time.monotonic()
        count = before = done
        self.note(f"{title}: {total} {unit}s" + (f", {done} of them done" if done else ""))

        def advance(n: int = 1, done: bool = False) -> None:
            nonlocal count, last
            count, now = count + n, time.monotonic()
            if done or now - last >= _EVERY:
                last, spent = now, now - start
                rate = (count - before) / max(spent, 1e-9)
                pace = f", {rate:.3g} {unit}s/s" if rate else ""
                left = f", {(total - count) / rate:.0f} s left" if rate and not done else ""
                self.note(f"{title}: {count}/{total} {unit}s, {spent:.0f} s{pace}{left}")

        return advance

    def note(self, text: str) -> None:
        """One line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def listener(*, show: bool = True) -> Iterator[Listener]:
    """Bars on a terminal or in a notebook, lines elsewhere; no output unless ``show``."""
    if not show:
        yield Silent()
        return
    if in_notebook():
        yield NotebookBars()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}s"),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield Bars(bars)
