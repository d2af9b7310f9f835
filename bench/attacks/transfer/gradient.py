"""The gradient that a transfer attack follows: averaged over random copies of the images, then smoothed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attacks.autoattack.losses import cross_entropy, margin
from bench.attacks.transfer.draws import Draws
from bench.attacks.transfer.views import drawn_blocks, drawn_diversity, drawn_shift
from bench.core.nouns import Adversary
from bench.core.numerics import numerics

Loss = Literal["margin", "cross-entropy"]


@dataclass(frozen=True)
class Copies:
    """The copies of an image that a gradient is averaged over; see the options of the attack.

    ``noise`` is a standard deviation on the [0, 1] scale, ``degrees`` an angle, ``shift`` pixels.
    """

    samples: int
    shift: int
    noise: float
    diversity: float
    resize: float
    scales: int
    blocks: int
    degrees: float

    def drawn(self, x: Tensor, draws: Draws, *purpose: str | int) -> Tensor:
        """One random copy of each image, (B, C, H, W), differentiable in the image."""
        if self.blocks > 1:
            x = drawn_blocks(x, self.blocks, self.degrees, draws, *purpose)
        if self.diversity > 0:
            x = drawn_diversity(x, self.diversity, self.resize, draws, *purpose)
        if self.shift > 0:
            x = drawn_shift(x, self.shift, draws, *purpose)
        if self.noise > 0:
            x = x + self.noise * draws.normal(x.shape[1:], "noise", *purpose).to(x)
        return x


@dataclass(frozen=True)
class Slope:
    """The averaged gradient of the source's loss, as a function of the images.

    Attributes:
        adversary: The adversary with its source.
        labels: (B,).
        loss: The loss to maximise.
        copies: The copies that the gradient is averaged over.
        kernel: (k, k) to smooth the gradient with, or None.
        draws: The images' random numbers.
    """

    adversary: Adversary
    labels: Tensor
    loss: Loss
    copies: Copies
    kernel: Tensor | None
    draws: Draws

    def __call__(self, x: Tensor, *purpose: str | int) -> Tensor:
        """Gradient (B, C, H, W) at ``x``; its copies are drawn for ``purpose``."""
        total = torch.zeros_like(x)
        for sample in range(self.copies.samples):
            for scale in range(self.copies.scales):
                total += self._one(x, 2.0**-scale, *purpose, sample)
        mean = total / (self.copies.samples * self.copies.scales)
        return mean if self.kernel is None else smoothed(mean, self.kernel)

    def value(self, x: Tensor) -> Tensor:
        """The loss (B,) of the images themselves."""
        with torch.no_grad():
            return self._loss(x)

    def _one(self, x: Tensor, scale: float, *purpose: str | int) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            copy = self.copies.drawn(x * scale, self.draws, *purpose)
            (gradient,) = torch.autograd.grad(self._loss(inside(copy)).sum(), x)
        return gradient

    def _loss(self, x: Tensor) -> Tensor:
        with numerics(self.adversary.precision, x.device.type):
            logits = self.adversary.source(x).float()
        return -margin(logits, self.labels) if self.loss == "margin" else cross_entropy(logits, self.labels)


def inside(x: Tensor) -> Tensor:
    """``x`` clipped to [0, 1], the domain of the models; the gradient passes straight through."""
    return x + (x.clamp(0, 1) - x).detach()


def gaussian(length: int, sigma: float) -> Tensor:
    """Kernel (length, length) that sums to 1, ``sigma`` in pixels. Source: TI, Dong et al., arXiv:1904.02884."""
    place = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    line = torch.exp(-(place**2) / (2 * sigma**2))
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).float()


def smoothed(gradient: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of ``gradient`` (B, C, H, W) convolved with ``kernel`` (k, k), zeros outside."""
    channels = gradient.shape[1]
    weight = kernel.to(gradient.dtype).expand(channels, 1, *kernel.shape)
    return F.conv2d(gradient, weight, padding=kernel.shape[-1] // 2, groups=channels)
