"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from bench.core.errors import InputError


def expanded(path: Path) -> Path:
    """``path`` with ``~`` written out.

    Raises:
        InputError: if the user it names has no home.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path} is below the home of a user that is not known; expected another path") from None
