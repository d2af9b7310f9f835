"""This machine: this process, or one process per worker."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from bench.backends.processes import spread
from bench.core.devices import all_gpus
from bench.core.plugins import Backend, Crew, Done, Lost

Item = TypeVar("Item")
Result = TypeVar("Result")


class Local(Backend):
    """This machine: one process per GPU with --device cuda, else --workers processes, by default this one."""

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], crew: Crew
    ) -> Generator[Done[Item, Result] | Lost[Item], None, None]:
        """Outcomes as they become available; in this process in the order of the items."""
        gpus = all_gpus(crew.device)
        count = crew.workers or len(gpus) or 1
        if count == 1:
            return (Done(item, work(item)) for item in items)
        places = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(count)]
        return spread(work, items, places)
