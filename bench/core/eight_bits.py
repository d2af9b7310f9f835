"""Adversarial images as 8-bit files hold them: rounded to k/255 without leaving the ball."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.core.ball import allowance
from bench.core.budget import Budget, Norm

LEVELS = 255.0


def eight_bits(images: Tensor, clean: Tensor, budget: Budget) -> Tensor:
    """The images with every value at k/255, no farther from ``clean`` than ``eps`` or than they were.

    l-inf: each value takes the nearest level that is within eps of the clean value. l2 and l1: each value first takes
    the nearest level between itself and the clean value, which leaves no ball; then values move to their nearest level,
    those that are closest to it first, as long as the image stays within eps.

    A value keeps the clean value, which need not be a level, only where the ball has no room for a level: in l-inf if
    no level is within eps of it; in l2 and l1 if no level lies between it and the clean value, and the level nearest
    to the clean value does not fit (the nearest of these go first).

    Args:
        images: Within the budget, (B, C, H, W) in [0, 1].
        clean: Clean images, same shape.
        budget: Norm and radius.
    """
    x, center = images.double() * LEVELS, clean.double() * LEVELS
    slack = allowance(budget, images[0].numel()) / 2  # half of what the judge allows; the rest is for float32
    radius = (budget.radius + slack) * LEVELS
    if budget.norm is Norm.LINF:
        low, high = (center - radius).ceil().clamp(min=0), (center + radius).floor().clamp(max=LEVELS)
        rounded = torch.where(low <= high, x.round().clamp(low, high), center)
    else:
        order = 2 if budget.norm is Norm.L2 else 1
        rounded = torch.stack([_within(*pair, radius, order) for pair in zip(x, center, strict=True)])
    return (rounded / LEVELS).to(images)


def _within(x: Tensor, center: Tensor, radius: float, order: int) -> Tensor:
    """One image on the scale of levels, rounded within an l1 or l2 ball."""
    toward = torch.where(x >= center, x.floor(), x.ceil())
    between = torch.where(x >= center, toward >= center, toward <= center)
    near, nearest = center.round(), x.round()
    out = torch.where(between, toward, center)
    out = _spend(out, torch.where(between, out, near), center, (near - center).abs(), radius, order)
    return _spend(out, nearest, center, (nearest - x).abs(), radius, order)


def _spend(now: Tensor, wish: Tensor, center: Tensor, rank: Tensor, radius: float, order: int) -> Tensor:
    """Values moved from ``now`` to ``wish``, the lowest ``rank`` first, as long as the image is within the radius."""
    spent = (now - center).abs().pow(order)
    cost = (wish - center).abs().pow(order) - spent
    first = rank.flatten().argsort(stable=True)
    fits = cost.flatten()[first].cumsum(0) <= math.pow(radius, order) - spent.sum()
    take = torch.zeros_like(fits).scatter(0, first, fits)
    return torch.where(take.view_as(now), wish, now)
