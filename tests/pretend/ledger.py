"""What a device made the host wait for, each with the line of bench that asked."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import bench

_ROOT = str(Path(bench.__file__).parent)


@dataclass
class Ledger:
    """Counts by (operation, place).

    Attributes:
        waits: The host waited for everything that the device had to do: a value was read, a shape depended on values,
            or a copy was not asynchronous.
        uploads: Asynchronous copies from pinned host memory, for which nothing waits.
        launches: Operations on the device.
        recording: Whether work is recorded now.
    """

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    uploads: Counter[tuple[str, str]] = field(default_factory=Counter)
    launches: int = 0
    recording: bool = False

    def wait(self, what: str) -> None:
        """The host waits, because of the line that is running; work that is recorded cannot."""
        if self.recording:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")
        self.waits[what, place()] += 1

    def upload(self, what: str) -> None:
        """The host goes on while the device copies."""
        self.uploads[what, place()] += 1

    def clear(self) -> None:
        """Start again at zero."""
        self.waits.clear()
        self.uploads.clear()
        self.launches = 0


def place() -> str:
    """File and line of the innermost frame in bench; ``elsewhere`` in a thread of autograd."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_ROOT):
            return f"bench{frame.f_code.co_filename[len(_ROOT) :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


LEDGER = Ledger()
