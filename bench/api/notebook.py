"""Progress in a notebook: a bar under the cell, updated in place."""

from __future__ import annotations

import html
import sys
import time
from importlib import import_module
from typing import Any

from bench.core.progress import Advance

_EVERY = 0.2  # seconds between updates


def in_notebook() -> bool:
    """Whether this process is a notebook kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookBars:
    """One bar per task; only the last bar and the last note remain."""

    def __init__(self) -> None:
        display = import_module("IPython.display")
        self._markup = display.HTML
        self._note = ""
        self._line: Any = display.display(self._markup(""), display_id=True)

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """A bar with the count and the remaining time."""
        count, start, last = done, time.monotonic(), 0.0

        def advance(n: int = 1, done: bool = False) -> None:
            nonlocal count, last
            count, now = count + n, time.monotonic()
            if done or now - last >= _EVERY:
                last = now
                self._show(f"{title}: {count}/{total} {unit}s, {now - start:.0f} s", count, total)

        advance(0, done=True)
        return advance

    def note(self, text: str) -> None:
        """One line below the bar."""
        self._note = text
        self._show(text, None, None)

    def _show(self, text: str, count: int | None, total: int | None) -> None:
        bar = f'<progress value="{count}" max="{total}"></progress> ' if total else ""
        note = "" if text == self._note else f"<br>{html.escape(self._note)}"
        self._line.update(self._markup(f"{bar}{html.escape(text)}{note}"))
