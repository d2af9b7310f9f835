"""The images that wait for a slot, shared by the attacking threads.

Every thread gets its fair share, and a thread with more returns images with their state: images that are fooled early
leave gaps, and on a CPU a thread without images is an idle core. The result for an image does not depend on the thread
that attacks it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from bench.attacks.autoattack.types import Guest, State
from bench.core.errors import StoppedError

# Rows above its share that a thread keeps while no thread is idle; moving a row costs about as much as a step of it.
_SLACK = 4


@dataclass
class Seat:
    """One image under attack: its random stream, the current run of the attack, and the steps taken.

    ``parked`` is the state of its row while it waits for another slot.
    """

    guest: Guest
    stream: torch.Generator
    run: int = 0
    age: int = 0
    parked: State | None = None


class Queue:
    """Seats shared by ``threads`` schedulers.

    Args:
        seats: All images, in order.
        threads: Number of schedulers that take from it; each continues until it receives nothing.
        halt: Set to end all of them.
    """

    def __init__(self, seats: Iterable[Seat], threads: int, halt: threading.Event) -> None:
        self._waiting, self._threads, self._halt = deque(seats), threads, halt
        self._live: dict[int, int] = {}
        self._idle = 0
        self._changed = threading.Condition()

    def take(self, live: int, slots: int) -> list[Seat]:
        """Seats for a thread with ``live`` images in ``slots`` slots; waits if it has none and others may return some.

        Raises:
            StoppedError: if the run was stopped.
        """
        with self._changed:
            self._note(live)
            while not live and not self._waiting and any(self._live.values()):
                self._idle += 1
                self._changed.wait(0.05)
                self._idle -= 1
                if self._halt.is_set():
                    raise StoppedError("the attack was stopped")
            room = min(slots - live, max(self._share() - live, not live), len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(room)]
            self._note(live + len(taken))
            return taken

    def give_back(self, seats: list[Seat]) -> None:
        """Return these images for other threads to continue."""
        with self._changed:
            self._waiting.extendleft(reversed(seats))
            self._live[threading.get_ident()] = self._live.get(threading.get_ident(), 0) - len(seats)
            self._changed.notify_all()

    def surplus(self, live: int) -> int:
        """How many of its ``live`` images a thread should return."""
        if self._threads == 1:
            return 0
        with self._changed:
            self._note(live)
            above = live - self._share()
            return above if above >= (1 if self._idle else _SLACK) and not self._waiting else 0

    def _note(self, live: int) -> None:
        self._live[threading.get_ident()] = live
        if not live:
            self._changed.notify_all()

    def _share(self) -> int:
        """Each thread's share of all images if there are too few to fill every slot."""
        return -(-(len(self._waiting) + sum(self._live.values())) // self._threads)
