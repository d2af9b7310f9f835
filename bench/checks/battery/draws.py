"""Per-image random offsets, determined by seed, id and purpose, never by batch or clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from bench.core.ball import project
from bench.core.budget import Budget, Norm
from bench.core.devices import forked_random
from bench.core.nouns import Batch
from bench.core.seeds import seed_of


def uniform(seed: int, batch: Batch, purpose: str) -> Tensor:
    """Values in [-1, 1] with the shape of the images."""
    rows = [torch.rand(batch.images.shape[1:], generator=_generator(seed, i, purpose)) * 2 - 1 for i in batch.ids]
    return torch.stack(rows).to(batch.images)


def signs(seed: int, batch: Batch, purpose: str) -> Tensor:
    """A random -1 or 1 for each value of the images."""
    return torch.where(uniform(seed, batch, purpose) < 0, -1.0, 1.0)


def pixels(seed: int, batch: Batch, purpose: str, count: int) -> Tensor:
    """``count`` values in [-1, 1] for each image, (B, count)."""
    rows = [torch.rand(count, generator=_generator(seed, i, purpose)) * 2 - 1 for i in batch.ids]
    return torch.stack(rows).to(batch.images)


def edge(seed: int, batch: Batch, purpose: str, budget: Budget, share: float = 1.0) -> Tensor:
    """A random point at about ``share`` of the radius from each image, inside the box."""
    return project(
        batch.images + reach(batch.images, budget, share) * signs(seed, batch, purpose), batch.images, budget
    )


def reach(images: Tensor, budget: Budget, share: float = 1.0) -> float:
    """The size of an equal move of all values that has ``share`` of the radius."""
    values = images[0].numel()
    count = {Norm.LINF: 1.0, Norm.L2: math.sqrt(values), Norm.L1: float(values)}[budget.norm]
    return share * budget.radius / count


def pick(seed: int, total: int, count: int, purpose: str) -> Sequence[int]:
    """``count`` random elements of ``range(total)``, in order."""
    order = torch.randperm(total, generator=Generator().manual_seed(seed_of(seed, "battery", purpose)))
    return sorted(order[:count].tolist())


def _generator(seed: int, image_id: str, purpose: str) -> Generator:
    return Generator().manual_seed(seed_of(seed, image_id, "battery", purpose))


@contextmanager
def drawn(seed: int, batch: Batch) -> Iterator[None]:
    """Make the model's randomness follow from the seed, and restore the process's generators afterwards."""
    with forked_random(batch.images.device):
        torch.manual_seed(seed_of(seed, "battery") % 2**63)
        yield
