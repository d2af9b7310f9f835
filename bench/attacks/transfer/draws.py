"""Per-image random numbers, drawn for a whole batch at once and identical on every device.

A number is a function of the image's seed, its purpose and its position, never of earlier draws: the counter-based
scheme of Salmon et al. (SC 2011) with the finaliser of splitmix64 (Steele et al., OOPSLA 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.core.devices import uploaded
from bench.core.seeds import seed_of

# splitmix64's increment and finaliser: shifts and odd factors, the factors as signed 64-bit words.
_GOLDEN = -7046029254386353131
_ROUNDS = ((30, -4658895280553007687), (27, -7723592293110705685))
_LAST_SHIFT = 31
# Bits of a float32 number in [0, 1); a 64-bit word gives two.
_BITS = 24


class Draws:
    """The random numbers of a batch of images.

    Args:
        seed: The run's seed.
        ids: The image ids.
        name: The purpose of the numbers.
        device: The device of the result.
    """

    def __init__(self, seed: int, ids: Sequence[str], name: str, device: torch.device) -> None:
        self._name = name
        self._seeds = uploaded(torch.tensor([seed_of(seed, i, name) for i in ids], dtype=torch.int64), device)

    def uniform(self, shape: Sequence[int], *purpose: str | int) -> Tensor:
        """Uniform numbers in [0, 1), float32 (B, *shape): the same for one purpose, independent between purposes."""
        count = math.prod(shape)
        start = _mixed(self._seeds ^ seed_of(self._name, *purpose))
        place = torch.arange(1, -(-count // 2) + 1, device=start.device) * _GOLDEN
        words = _mixed(start[:, None] + place)
        mask = (1 << _BITS) - 1
        halves = torch.cat([words & mask, (words >> 32) & mask], 1)[:, :count]
        return (halves.float() * 2.0**-_BITS).view(-1, *shape)

    def normal(self, shape: Sequence[int], *purpose: str | int) -> Tensor:
        """Standard normal numbers, float32 (B, *shape)."""
        centred = self.uniform(shape, *purpose) * 2 - (1 - 2.0**-_BITS)  # symmetric, never -1 or 1
        return torch.erfinv(centred) * math.sqrt(2)


def _mixed(x: Tensor) -> Tensor:
    for shift, factor in _ROUNDS:
        x = (x ^ _shifted(x, shift)) * factor
    return x ^ _shifted(x, _LAST_SHIFT)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Shift unsigned words, stored as signed ones, to the right."""
    return (x >> by) & ((1 << (64 - by)) - 1)
