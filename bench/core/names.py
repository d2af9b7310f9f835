"""The plug-in kinds, and suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

KINDS = ("transforms", "defenses", "threats", "attacks", "datasets", "backends")
_MOST = 20  # names shown in one line


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error line: similar names if there are any, and the known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ";"
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"{hint} known: {', '.join(names[:_MOST]) or 'none'}{more}"
