"""Runs shards sequentially in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bench.core.plugins import Backend

Item = TypeVar("Item")
Result = TypeVar("Result")


class Local(Backend):
    """This process, one shard at a time."""

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items."""
        return map(work, items)
