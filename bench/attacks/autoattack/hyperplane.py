"""Exact nearest point of a hyperplane inside the box [0, 1], without sorting.

Croce and Hein (arXiv:1907.02044, section 3.1) sort the pixels by where they hit the box. Here the same piecewise linear
equation is solved by Newton's method: it is concave and increasing, so the steps rise monotonically to the root and
converge after a few passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import can_skip
from bench.core.budget import Norm

# More steps than any row was observed to need (mostly 3 to 8); an accelerator runs all of them without checking.
_MOST_STEPS = 24
# Weights below this count as zero under l2, as in the official code.
_NEGLIGIBLE = 1e-8


def to_plane(points: Tensor, weights: Tensor, gap: Tensor, norm: Norm) -> Tensor:
    """Shortest move (B, n) that brings each point onto its plane, or as close as the box allows.

    Args:
        points: (B, n) in [0, 1].
        weights: (B, n), normals of the planes.
        gap: (B,), weights . points - offset.
        norm: l-inf or l2, the norm in which the move is shortest.
    """
    slope_sign = torch.where(gap >= 0, 1.0, -1.0)[:, None]
    w = weights * slope_sign
    room = torch.where(w > 0, points, 1 - points)
    size = w.abs()
    if norm is Norm.LINF:
        shift = _shift(size, room, gap.abs())
        return -w.sign() * torch.minimum(room, shift[:, None])
    counted = size > _NEGLIGIBLE
    limit = torch.where(counted, room / size, 0.0)
    shift = _shift(torch.where(counted, size * size, 0.0), limit, gap.abs())
    return -w * torch.minimum(limit, shift[:, None])


def _shift(slope: Tensor, limit: Tensor, gap: Tensor) -> Tensor:
    """Root (B,) of sum(slope * min(shift, limit)) = gap; infinite if the box ends before the plane.

    Rows only increase, and a converged row no longer changes: the number of passes, which depends on the slowest row of
    the batch, does not affect the other rows.
    """
    full = slope * limit
    shift = gap / slope.sum(1).clamp(min=1e-30)
    for _ in range(_MOST_STEPS):
        stopped = (limit <= shift[:, None]).to(slope.dtype)
        rest = gap - (full * stopped).sum(1)
        pull = torch.addcmul(slope, slope, stopped, value=-1).sum(1)
        ahead = torch.where(pull > 0, rest / pull, torch.inf)
        rising = ahead > shift
        if can_skip(rising):
            break
        shift = torch.where(rising, ahead, shift)
    return shift
