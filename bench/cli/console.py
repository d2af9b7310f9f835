"""Standard output."""

from __future__ import annotations

import sys

from rich.console import Console

_WIDE = 160  # columns if standard output is a file or a pipe


def make_console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for every table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
