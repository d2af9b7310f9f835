"""Honest defenses that a careless check would take for broken ones."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from canary_base import Around, Canary
from canary_trained import Adversarial, Small, layers
from torch import nn

from bench.core.nouns import Batch
from bench.core.plugins import Dataset


class TanhNetwork(Small):
    """A small network of hyperbolic tangents."""

    def network(self):
        return nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(768, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(),
            nn.Linear(64, 10),
        )  # fmt: skip


class EightDraws(Canary):
    """The mean of eight noisy copies, with noise that never changes."""

    def wrap(self, base):
        noise = 0.1 * torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return Around(base, lambda model, x: torch.stack([model((x + n).clamp(0, 1)) for n in noise]).mean(0))


class Dropping(Small):
    """A network with dropout, in evaluation mode."""

    def network(self):
        return nn.Sequential(*layers(nn.ReLU)[:-1], nn.Dropout(0.5), nn.Linear(64, 10))


class HalfPrecision(Canary):
    """The base in bfloat16 by autocast."""

    def wrap(self, base):
        def half(model, x):
            with torch.autocast(x.device.type, torch.bfloat16):
                return model(x)

        return Around(base, half)


class HalfPrecisionFloat(Canary):
    """The base in bfloat16 by autocast, its answers in float32 again."""

    def wrap(self, base):
        def half(model, x):
            with torch.autocast(x.device.type, torch.bfloat16):
                return model(x).float()

        return Around(base, half)


class AdversarialPerceptron(Adversarial):
    """A perceptron, adversarially trained."""

    eps: float = 0.05

    def network(self):
        return nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(768, 256), nn.GELU(), nn.Linear(256, 64), nn.GELU(),
            nn.Linear(64, 10),
        )  # fmt: skip


class OddOrEven:
    """A split of the digits with two classes."""

    layout = ""

    def __init__(self, split):
        self._split = split
        self.ids, self.labels = split.ids, [y % 2 for y in split.labels]

    def read(self, positions):
        batch = self._split.read(positions)
        return Batch(batch.ids, batch.images, batch.labels % 2)

    def draw(self, positions, seeds, how):
        images, labels = self._split.draw(positions, seeds, how)
        return images, labels % 2

    def digest(self):
        return self._split.digest()[::-1]

    def problems(self):
        return []


class Parity(Dataset):
    """The digits, odd or even."""

    sizes: ClassVar[Mapping[str, int]] = {}

    def split(self, name, storage):
        from bench.data.digits import Digits

        return OddOrEven(Digits().split(name, storage))
