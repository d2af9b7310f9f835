"""The backend plug-in: where the shards of a run are processed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.core.plugins.plugin import Plugin

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crew:
    """The workers that a user asked for.

    Attributes:
        workers: Number of processes; None for the backend's default.
        device: ``cpu``, ``cuda`` (any GPU: a backend gives each worker one of its own) or a certain one, ``cuda:1``.
    """

    workers: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """The work on an item ended with a result."""

    item: Item
    result: Result


@dataclass(frozen=True)
class Lost(Generic[Item]):
    """The worker of an item died; ``why`` in a few words, such as ``exit code -9; out of memory?``."""

    item: Item
    why: str


class Backend(Plugin, kind="backend"):
    """Processes shards. A class needs ``map``."""

    def check(self, crew: Crew) -> None:
        """Refuse workers that cannot be had, before anything is made.

        Args:
            crew: The workers that the user asked for.

        Raises:
            InputError: if they cannot.
        """

    @abstractmethod
    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], crew: Crew
    ) -> Generator[Done[Item, Result] | Lost[Item], None, None]:
        """One outcome for each item, as they become available, in any order.

        ``work`` and the items can be pickled, and ``work`` then makes the models on its first call there; so a backend
        with workers sends ``work`` once to each of them. In this process ``work`` has its models in memory. Results are
        small: what the work makes, it writes to files in folders that all workers share.

        ``items`` is read as workers become free, never further ahead, because what is left to do may change until
        then. A worker that dies costs its item only: the item is ``Lost``, and another worker takes the next one. What
        ``work`` raises is raised here. Workers end when the iterator is closed or this process ends, however it ends.

        Args:
            work: What is done with an item, at least once.
            items: Read from this thread.
            crew: The workers that the user asked for.
        """
