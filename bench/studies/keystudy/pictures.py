"""The test images of a study, read as often as needed, and a model's accuracy on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.errors import InputError
from bench.core.nouns import Batch
from bench.core.plugins import Split
from bench.engine.judge import predict
from bench.engine.shards import Reader

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Quantiles of a distribution, in the records.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Pictures:
    """Images in batches, without unreadable ones.

    Args:
        split: The test images.
        chosen: Positions of the images to use.
        size: Batch size.
        device: Device of the batches.
    """

    def __init__(self, split: Split, chosen: Sequence[int], size: int, device: str) -> None:
        self._split, self._chosen, self._size, self._device = split, chosen, size, device

    def __iter__(self) -> Iterator[Batch]:
        reader = Reader(self._split, self._chosen, self._size)
        for index in range(-(-len(self._chosen) // self._size)):
            batch, _ = reader.read(index)
            if len(batch):
                yield batch.to(self._device)

    @property
    def count(self) -> int:
        """Number of readable images."""
        return self._seen[0]

    @property
    def alike(self) -> list[int]:
        """For each channel, the first channel that it equals in every image."""
        return self._seen[1]

    @cached_property
    def _seen(self) -> tuple[int, list[int]]:
        count, groups = 0, list[int]()
        for batch in self:
            here = channels_alike(batch.images)
            groups = _common(groups, here) if count else here
            count += len(batch)
        if not count:
            raise InputError("none of the test images can be read; see `bench doctor`")
        return count, groups

    def accuracy(self, model: Model) -> float:
        """Accuracy of ``model`` in the judge's arithmetic."""
        right = 0
        for batch in self:
            labels = batch.labels.tolist()
            right += sum(p == y for p, y in zip(predict(model, batch.images, self._size), labels, strict=True))
        return right / self.count


def channels_alike(images: Tensor) -> list[int]:
    """For each channel of images (B, C, H, W), the first channel that it equals in all of them."""
    channels = range(images.shape[1])
    return [next(d for d in channels if torch.equal(images[:, c], images[:, d])) for c in channels]


def quantiles(values: Tensor) -> list[float]:
    """Quantiles at 5, 25, 50, 75 and 95%; empty for no values."""
    at = torch.tensor(QUANTILES, dtype=torch.float64)
    return torch.quantile(values.double().cpu(), at).tolist() if values.numel() else []


def _common(one: list[int], other: list[int]) -> list[int]:
    """The finest grouping that is compatible with both."""
    pairs = list(zip(one, other, strict=True))
    return [pairs.index(pair) for pair in pairs]
