"""The images of each step: epochs without repetition, a function of the seed and the step only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from bench.core.plugins import Split
from bench.core.profile import Recipe
from bench.core.seeds import seed_of


@dataclass(frozen=True)
class Share:
    """One of several processes: its rank, the number of processes, and the micro-batches of its share of a step."""

    rank: int = 0
    processes: int = 1
    parts: int = 1

    def positions(self, part: int, batch: int) -> slice:
        """The slice of a step's batch that belongs to ``part``."""
        size = batch // (self.processes * self.parts)
        first = (part * self.processes + self.rank) * size
        return slice(first, first + size)


class Order:
    """Positions in a split for every step.

    Args:
        labels: Labels of the split.
        recipe: Batch size, and the share of the images of every class that is used.
        seed: Seed of the selection and of the order.
    """

    def __init__(self, labels: Sequence[int], recipe: Recipe, seed: int) -> None:
        self._chosen = _subset(labels, recipe.subset, seed)
        self._batch, self._seed = recipe.batch_size, seed

    def __len__(self) -> int:
        return len(self._chosen)

    def step(self, step: int) -> list[int]:
        """The batch of a step; an epoch ends when every image was seen once, even in the middle of a batch."""
        out: list[int] = []
        n, at = len(self._chosen), step * self._batch
        while len(out) < self._batch:
            epoch, place = divmod(at + len(out), n)
            order = _shuffled(n, seed_of(self._seed, "epoch", epoch))
            out += self._chosen[order[place : place + self._batch - len(out)]].tolist()
        return out


class Parts(Dataset[tuple[Tensor, Tensor]]):
    """The reading order of one process: item ``i`` is part ``i % parts`` of its share of step ``i // parts``."""

    def __init__(self, data: Split, order: Order, recipe: Recipe, share: Share, seed: int) -> None:
        self._data, self._order, self._recipe, self._share, self._seed = data, order, recipe, share, seed

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        step, part = divmod(i, self._share.parts)
        where = self._share.positions(part, self._recipe.batch_size)
        chosen = self._order.step(step)[where]
        seeds = [seed_of(self._seed, "draw", step, at) for at in range(where.start, where.stop)]
        return self._data.draw(chosen, seeds, self._recipe.augmentation)


def _subset(labels: Sequence[int], share: float, seed: int) -> Tensor:
    """Positions of ``share`` of the images of every class, at least one each, in the order of the split."""
    if share == 1:
        return torch.arange(len(labels))
    of = torch.as_tensor(labels)
    kept = []
    for label in of.unique():
        at = (of == label).nonzero().flatten()
        order = torch.randperm(len(at), generator=Generator().manual_seed(seed_of(seed, "subset", int(label))))
        kept.append(at[order[: max(1, round(share * len(at)))]])
    return torch.cat(kept).sort().values


@lru_cache(maxsize=2)  # a batch can span two epochs
def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=Generator().manual_seed(seed))
