"""The neighbourhood of an image: points in it, and the gradient that leads to flat maxima."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.transfer.gradient import Slope
from bench.core.budget import Budget, Norm

# 1 / p of the norms: n numbers of mean size 1 form a vector of length about n^(1/p).
_ROOT = {Norm.LINF: 0.0, Norm.L2: 0.5, Norm.L1: 1.0}


@dataclass(frozen=True)
class Neighbours:
    """Points around an image: ``count`` of them, up to ``radius`` times eps away."""

    count: int
    radius: float


def flat_gradient(
    slope: Slope, x: Tensor, around: Neighbours, balance: float, length: float, budget: Budget, *purpose: str | int
) -> Tensor:
    """Gradient that avoids sharp maxima: at neighbours, mixed with that one descent step from each, (B, C, H, W).

    Args:
        slope: The gradient function.
        x: Images.
        around: The neighbours.
        balance: Share of the gradient after the descent step (delta in the paper).
        length: Length of that step, in the budget's norm.
        budget: Provides the norm and eps.
        purpose: The purpose of the random numbers.

    Source: PGN, Ge et al., arXiv:2306.05225, algorithm 1.
    """
    total = torch.zeros_like(x)
    for i in range(around.count):
        point = near(slope, x, around, budget, "flat", *purpose, i)
        here = slope(point, "flat", *purpose, i)
        there = slope(point - length * scaled(here) / entries(here, budget.norm), "flat", *purpose, i)
        total += (1 - balance) * here + balance * there
    return total / around.count


def near(slope: Slope, x: Tensor, around: Neighbours, budget: Budget, *purpose: str | int) -> Tensor:
    """A random neighbour of each image: uniform in the cube, or on the sphere for the other norms."""
    noise = (slope.draws.uniform(x.shape[1:], "near", *purpose) * 2 - 1).to(x)
    if budget.norm is not Norm.LINF:
        size = torch.linalg.vector_norm(noise.flatten(1), 2 if budget.norm is Norm.L2 else 1, dim=1)
        noise = noise / size.clamp(min=1e-12).view(-1, 1, 1, 1)
    return x + around.radius * budget.radius * noise


def entries(images: Tensor, norm: Norm) -> float:
    """Length in ``norm`` of an image of ones, to scale entries of mean size 1 to a length of about 1; 1 for l-inf."""
    return float(images[0].numel() ** _ROOT[norm])


def scaled(gradient: Tensor) -> Tensor:
    """``gradient`` divided by the mean absolute value of its entries, for each image."""
    return gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-30)
