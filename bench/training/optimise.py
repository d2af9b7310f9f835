"""The optimizer and the learning rate of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from bench.core.profile import Recipe


def make_optimizer(parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, over the trainable parameters."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe) -> LRScheduler:
    """One cycle, or a linear warm-up and half a cosine to zero (AugReg, arXiv:2106.10270)."""
    if recipe.schedule == "one-cycle":
        return OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    return LambdaLR(optimizer, lambda step: share_of_rate(step, recipe))


def share_of_rate(step: int, recipe: Recipe) -> float:
    """Share of the peak learning rate at ``step``, which counts from 0."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    along = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, along)))
