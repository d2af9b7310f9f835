"""Standard output."""

from __future__ import annotations

import sys

from rich.console import Console

_WIDE = 160  # columns where standard output is a file or a pipe


def make_console() -> Console:
    """Standard output: as wide as the terminal, wide enough for every table elsewhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
