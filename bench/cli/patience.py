"""Messages of slow commands on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AFTER = 2.0  # seconds


@contextmanager
def patience(what: str) -> Iterator[None]:
    """Print ``what`` if the enclosed work is not done after two seconds; also usable as a decorator of a command."""
    timer = threading.Timer(_AFTER, lambda: print(f"{what} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
