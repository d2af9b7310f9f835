"""Whether a process lives, as far as another one can tell."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class Life:
    """One process.

    Attributes:
        host: The name of its machine.
        place: Of the processes that see each other: the machine since its start, and the container.
        pid: Its number there.
        started: When it started, in ticks of that machine; empty where that cannot be told.
    """

    host: str
    place: str
    pid: int
    started: str

    @property
    def lives(self) -> bool | None:
        """Whether it lives; None if that cannot be told from here."""
        if self.place != _place():
            return None
        return _alive(self.pid) and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Life:
    """This process."""
    return Life(socket.gethostname(), _place(), os.getpid(), _started(os.getpid()))


@cache
def _place() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def _alive(pid: int) -> bool:
    state = _stat(pid)
    if state:
        return state[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    state = _stat(pid)
    return state[19] if state else ""


def _stat(pid: int) -> list[str]:
    """What /proc says of a process, from its state on; empty where there is nothing."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
