"""Processes that end with the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import parent_process

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_EVERY = 0.5  # seconds


def follow_parent() -> None:
    """End this process when its parent is gone, however that ended, SIGKILL included; call it first in a new process.

    Linux ends it at once; elsewhere, and should that fail, a thread notices it within a second.
    """
    started = parent_process()
    parent = os.getppid() if started is None or started.pid is None else started.pid
    killed_with_parent(parent)
    threading.Thread(target=_watch, args=(parent,), name="follow-parent", daemon=True).start()


def killed_with_parent(parent: int | None = None) -> None:
    """Have Linux kill this process when its parent is gone; without a thread, for a process that forks.

    Args:
        parent: Its number, if it is known from before this process started; if it is gone already, this ends here.
    """
    parent = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)
