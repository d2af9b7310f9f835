"""The backend plug-in: where the shards of a run are processed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bench.core.plugins.plugin import Plugin

Item = TypeVar("Item")
Result = TypeVar("Result")


class Backend(Plugin, kind="backend"):
    """Processes shards. A class needs ``map``."""

    @abstractmethod
    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results as they become available, in any order.

        ``work`` and the items can be pickled, and ``work`` then makes the models on its first call there; so a backend
        with workers sends ``work`` once to each of them. In this process ``work`` has its models in memory.
        """
