"""The attacks that the checks run, looked up by name in the registry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch
from bench.core.plugins import Attack
from bench.core.registry import registry


@dataclass(frozen=True)
class CheckEffort:
    """The effort of the checks' attacks.

    Attributes:
        steps: Steps of the gradient attack, each a tenth of eps: four times across the ball.
        few: Steps of its short form.
        queries: Queries of the query attack, per image.
        corners: Random points tried.
    """

    steps: int = 40
    few: int = 10
    queries: int = 500
    corners: int = 10


# The size of a step in eps, and in how many of them the attack crosses the ball's radius at least.
_STEP, _ACROSS = 0.1, 2.0
QUICK = CheckEffort(steps=10, few=5, queries=300, corners=5)


class Grounded(nn.Module):
    """Replaces a model's missing or non-finite gradient by zero, so that an attack always runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        x: Tensor = _Finite.apply(images)
        logits: Tensor = self.model(x)
        if torch.is_grad_enabled() and images.requires_grad and not logits.requires_grad:
            return logits + 0 * x.flatten(1).sum(1, keepdim=True)
        return logits


class _Finite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.nan_to_num(0.0, 0.0, 0.0)


def white_box(
    model: nn.Module, batch: Batch, budget: Budget, seed: int, effort: CheckEffort, loss: str, steps: int | None = None
) -> Tensor:
    """Candidates of projected gradient descent for every image, with the shape of the images."""
    count = steps or effort.steps
    options = {"steps": count, "loss": loss, "relative_step": max(_STEP, _ACROSS / count)}
    return _run("pgd", options, Grounded(model), batch, budget, seed)


def black_box(model: nn.Module, batch: Batch, budget: Budget, seed: int, effort: CheckEffort) -> Tensor:
    """Candidates of Square (arXiv:1912.00049); the images themselves if it found nothing, and under l1."""
    if budget.norm is Norm.L1:
        return batch.images
    options = {"version": "custom", "attacks": ["square"], "queries": effort.queries}
    return _run("autoattack", options, model, batch, budget, seed)


def _run(name: str, options: dict[str, Any], source: nn.Module, batch: Batch, budget: Budget, seed: int) -> Tensor:
    attack: Attack = registry("attacks").make(name, options)
    own = Batch(batch.ids, batch.images.clone(), batch.labels.clone())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks measure what the attack would warn of
        return attack.perturb(Adversary(source, budget, seed), own).detach()
