"""Processes as tests see them."""

import time
from collections.abc import Iterable
from pathlib import Path


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def survivors(pids: Iterable[int], patience: float = 60) -> list[int]:
    """Those of the processes that still run when none does, or after so many seconds."""
    left, deadline = list(pids), time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [pid for pid in left if lives(pid)]
    return left
