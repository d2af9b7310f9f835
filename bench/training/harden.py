"""The adversary inside adversarial training: it perturbs the images of a step before training on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.core.ball import project, random_start, steepest
from bench.core.budget import Budget

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass(frozen=True)
class Hardening:
    """Projected gradient descent against the current weights.

    Attributes:
        budget: The ball around each image.
        steps: Gradients in each training step.
        relative_step: Length of one attack step, as a share of eps.

    Source: Madry et al., arXiv:1706.06083.
    """

    budget: Budget
    steps: int
    relative_step: float

    def draw(self, count: int, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Starts of ``count`` images of ``shape`` (C, H, W): uniform in [-1, 1], (count, C, H, W), on the CPU."""
        return torch.rand(count, *shape, generator=generator) * 2 - 1

    def move(self, model: Model, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """Images in the ball that are hard for ``model``, in evaluation mode; parameters get no gradient.

        Args:
            model: Images to logits (B, K).
            images: (B, C, H, W) in [0, 1].
            labels: (B,).
            start: From :meth:`draw`, for these images.
        """
        x = random_start(images, start.to(images), self.budget)
        length = self.relative_step * self.budget.radius
        for _ in range(self.steps):
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                loss = F.cross_entropy(model(x).to(x.dtype), labels, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, x)
            x = project(x.detach() + length * steepest(gradient, self.budget.norm), images, self.budget)
        return x.detach()
