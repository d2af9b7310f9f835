"""The images that a run judges, read one shard ahead of the attack, and the results of a shard."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from bench.core.errors import InputError, UnreadableImageError
from bench.core.nouns import Batch
from bench.core.plugins import Split
from bench.core.seeds import seed_of
from bench.core.selection import positions
from bench.core.spec import Spec
from bench.store.verdicts import Row


@dataclass(frozen=True)
class Shard:
    """The verdicts of one shard and their cost; ``resumed`` if an earlier process made them."""

    index: int
    rows: list[Row]
    about: dict[str, Any]
    resumed: bool = False


@dataclass(frozen=True)
class Unread:
    """An image that cannot be decoded, with the reason in one line."""

    position: int
    image_id: str
    why: str


def choose(
    spec: Spec, split: Split, ids: Sequence[str] | None, *, in_order: bool = False
) -> tuple[list[int], list[str]]:
    """Positions of the images that a Spec selects, and notes on the data for the record.

    A run with early stopping takes them in an order drawn from its seed; ``in_order`` says that ``ids`` are so already.

    Raises:
        InputError: if a listed image is missing; or the run is over all images and the data is incomplete.
    """
    problems = split.problems()
    if ids is None and spec.limit is None and problems:
        more = f" (and {len(problems) - 1} more; see `bench doctor`)" if len(problems) > 1 else ""
        raise InputError(f"data: {problems[0]}{more}; give --limit or --ids to judge a part on purpose")
    chosen = positions(split.ids, ids) if ids is not None else list(range(len(split.ids)))
    chosen = chosen[: spec.limit]
    if spec.stop_at and not in_order:
        chosen = [chosen[i] for i in shuffled(spec, len(chosen))]
    return chosen, [f"the data is incomplete: {problems[0]}"] if problems else []


def shuffled(spec: Spec, n: int) -> list[int]:
    """A random order of n images, drawn from the seed of a Spec."""
    seed = seed_of(spec.seed, "order of the images")
    order: list[int] = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


class Reader:
    """Shards of images; the next one is read while one is attacked.

    Args:
        split: The test images.
        chosen: Positions of the images to judge.
        size: Size of a shard.
    """

    def __init__(self, split: Split, chosen: Sequence[int], size: int) -> None:
        self._split, self._chosen, self._size = split, chosen, size
        self._ahead: dict[int, Future[tuple[Batch, list[Unread]]]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def positions(self, index: int) -> Sequence[int]:
        """Ids of the images of a shard."""
        return self._chosen[index * self._size : (index + 1) * self._size]

    def read(self, index: int) -> tuple[Batch, list[Unread]]:
        """The readable and the unreadable images of a shard."""
        task = self._ahead.pop(index, None) or self._thread.submit(self._read, index)
        out = task.result()
        for other in self._ahead.values():
            other.cancel()
        self._ahead.clear()
        if self.positions(index + 1):
            self._ahead[index + 1] = self._thread.submit(self._read, index + 1)
        return out

    def _read(self, index: int) -> tuple[Batch, list[Unread]]:
        wanted = self.positions(index)
        try:
            return self._split.read(wanted), []
        except UnreadableImageError:
            return self._one_by_one(wanted)

    def _one_by_one(self, wanted: Sequence[int]) -> tuple[Batch, list[Unread]]:
        read: list[Batch] = []
        broken: list[Unread] = []
        for position in wanted:
            try:
                read.append(self._split.read([position]))
            except UnreadableImageError as error:
                broken.append(Unread(position, error.image_id, str(error)))
        if not read:
            return Batch((), torch.empty(0), torch.empty(0, dtype=torch.int64)), broken
        ids = tuple(batch.ids[0] for batch in read)
        return Batch(ids, torch.cat([b.images for b in read]), torch.cat([b.labels for b in read])), broken
