"""Geometry of the budgets on image tensors: distance, projection, steepest step, random point.

All functions take images (B, C, H, W) and treat each image independently.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.core.budget import Budget, Norm

# Float32 rounding tolerance of a distance: two units in the last place of 1.0 for each pixel. Attacks clip
# x + eps and x - eps in float32, which ends up to one such unit outside the exact ball.
_ULP = 2.0**-22
# Share of the pixels that one l1 step moves (SLIDE, Tramer and Boneh, arXiv:1904.13000, use the top 1 percent).
_L1_SHARE = 0.01


def distance(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """Distance of each image pair, shape (B,), in the dtype of ``a``."""
    flat = (a - b).flatten(1)
    if norm is Norm.LINF:
        return flat.abs().amax(1)
    length: Tensor = torch.linalg.vector_norm(flat, 2 if norm is Norm.L2 else 1, dim=1)
    return length


def allowance(budget: Budget, pixels: int) -> float:
    """Tolerance beyond ``eps`` for a float32 distance over ``pixels`` values, due to rounding alone."""
    spread: dict[Norm, float] = {Norm.LINF: 1.0, Norm.L2: math.sqrt(pixels), Norm.L1: float(pixels)}
    return _ULP * spread[budget.norm]


def project(x: Tensor, center: Tensor, budget: Budget) -> Tensor:
    """Nearest feasible images: project into the ball around ``center``, then into [0, 1] (which stays in the ball)."""
    delta = x - center
    if budget.norm is Norm.LINF:
        delta = delta.clamp(-budget.radius, budget.radius)
    elif budget.norm is Norm.L2:
        delta = delta * (budget.radius / _per_image(delta, 2).clamp(min=1e-12)).clamp(max=1.0)
    else:
        delta = _project_l1(delta, budget.radius)
    return (center + delta).clamp(0, 1)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Direction of unit ``norm`` along which a linear loss increases fastest."""
    if norm is Norm.LINF:
        return gradient.sign()
    if norm is Norm.L2:
        return gradient / _per_image(gradient, 2).clamp(min=1e-12)
    flat = gradient.flatten(1)
    count = max(1, int(_L1_SHARE * flat.shape[1]))
    top = torch.zeros_like(flat).scatter(1, flat.abs().topk(count, dim=1).indices, 1.0)
    return (flat.sign() * top / count).view_as(gradient)


def random_start(center: Tensor, noise: Tensor, budget: Budget) -> Tensor:
    """Starting point inside the ball: uniform ``noise`` in [-1, 1], scaled to the radius and projected."""
    if budget.norm is Norm.LINF:
        return project(center + budget.radius * noise, center, budget)
    order = 2 if budget.norm is Norm.L2 else 1
    unit = noise / _per_image(noise, order).clamp(min=1e-12)
    return project(center + budget.radius * unit, center, budget)


def _per_image(x: Tensor, order: int) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), order, dim=1)
    return length.view(-1, *[1] * (x.dim() - 1))


def _project_l1(delta: Tensor, radius: float) -> Tensor:
    """Euclidean projection onto the l1 ball by the sorting algorithm of Duchi et al. (ICML 2008)."""
    flat = delta.flatten(1)
    size = flat.abs()
    ranked = size.sort(dim=1, descending=True).values
    excess = ranked.cumsum(1) - radius
    rank = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
    last = ((ranked - excess / rank) > 0).sum(1, keepdim=True).clamp(min=1)
    cut = (excess.gather(1, last - 1) / last).clamp(min=0)
    return (flat.sign() * (size - cut).clamp(min=0)).view_as(delta)
