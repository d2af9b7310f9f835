"""Square Attack under l2: move mass from one random window to another (arXiv:1912.00049, algorithm 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import length, unit
from bench.attacks.autoattack.square import Square, coin, coming, opening, place, window_sizes
from bench.attacks.autoattack.types import Newcomers, State
from bench.core.budget import Norm
from bench.core.devices import on_host, uploaded

# The start is a grid of five by five bumps; windows have odd sides of at least 3 (both as in the official code).
_GRID, _LEAST = 5, 3
_TINY = 1e-12


@dataclass(frozen=True)
class SquareL2(Square):
    """Square Attack under l2; budget, queries and steps as under l-inf."""

    def begin(self, newcomers: Newcomers) -> State:
        """Start from a grid of bumps on the sphere; no window yet."""
        x = newcomers.images
        channels, height, width = x.shape[1:]
        sizes = window_sizes(self.queries, height, width, _LEAST, True, torch.device("cpu"))
        bumps, corners, flips, signs = [], [], [], []
        for stream in newcomers.streams:
            bumps.append(_bump_grid(stream, channels, height, width))
            draws = torch.rand((self.queries, 5 + channels), generator=stream)
            first, second = place(draws[:, :2], sizes, height, width), place(draws[:, 2:4], sizes, height, width)
            corners.append(torch.cat([first, second], dim=1))
            flips.append(draws[:, 4] > 0.5)
            signs.append(coin(draws[:, 5:]).to(torch.int8))
        start = uploaded(torch.cat([unit(bump[None], Norm.L2) for bump in bumps]), x.device)
        return opening((x + start * self.budget.radius).clamp(0, 1), newcomers.labels) | {
            "image": x.clone(),
            "corner": uploaded(torch.stack(corners), x.device),
            "flip": uploaded(torch.stack(flips), x.device),
            "sign": uploaded(torch.stack(signs), x.device),
        }

    def _propose(self, state: State, tries: int) -> Tensor:
        image, best = state["image"], state["point"]
        rows, query, start = coming(state, tries, self.queries)
        height, width = best.shape[2:]
        size = window_sizes(self.queries, height, width, _LEAST, True, best.device)[query].flatten()
        corner, flip = state["corner"][rows, query].flatten(0, 1).long(), state["flip"][rows, query].flatten()
        sign = state["sign"][rows, query].flatten(0, 1).to(best.dtype)
        delta = (best - image).repeat(tries, 1, 1, 1)
        spare = (self.budget.radius**2 - length(delta, Norm.L2) ** 2).clamp(min=0)
        for side in _sides(size, self.queries, height, width):  # rows with windows of one size are updated together
            same = size == side
            if on_host(size.device):
                at = same.nonzero().squeeze(1)
                _move(delta, at, None, side, corner[at], _bumps(side, flip[at], sign[at]), spare[at])
            else:  # all rows are computed, and those of another size keep what they are
                at, end = torch.arange(len(size), device=size.device), _ends(height - side, width - side, size.device)
                _move(delta, at, same, side, torch.minimum(corner, end), _bumps(side, flip, sign), spare)
        moved = unit(delta, Norm.L2).unflatten(0, (tries, len(image)))
        moved = torch.addcmul(image, moved, delta.new_full((), self.budget.radius)).clamp_(0, 1)
        return torch.where(start[..., None, None, None], best, moved)


def _sides(size: Tensor, queries: int, height: int, width: int) -> list[int]:
    """The sides that occur among windows of ``size``; on an accelerator, which would have to wait, all of the run."""
    known = size if on_host(size.device) else window_sizes(queries, height, width, _LEAST, True, torch.device("cpu"))
    return sorted(set(known.tolist()))


@cache
def _ends(down: int, right: int, device: torch.device) -> Tensor:
    """The last corners, (4,), from which both windows lie in the image."""
    return torch.tensor([down, right, down, right], device=device)


def _move(
    delta: Tensor, rows: Tensor, only: Tensor | None, side: int, corner: Tensor, bumps: Tensor, spare: Tensor
) -> None:
    """Change ``delta`` (S, C, H, W) in place: a bump at the first window, zero at the second.

    The bump gets the mass of both windows and its share of the unused squared radius. Nothing changes in ``rows`` that
    ``only`` leaves out.
    """

    def changed(new: Tensor, old: Tensor) -> Tensor:
        return new if only is None else torch.where(only.view(-1, 1, 1, 1), new, old)

    channels = delta.shape[1]
    to, source = _cells(rows, channels, corner[:, 0:2], side), _cells(rows, channels, corner[:, 2:4], side)
    here, there = delta[to], delta[source]
    apart = ((to[2].amin(2, True) > source[2]) | (to[2].amax(2, True) < source[2])) | (
        (to[3].amin(3, True) > source[3]) | (to[3].amax(3, True) < source[3])
    )
    own = _square_sum(here)
    mass = (spare.view(-1, 1, 1, 1) / channels + own + _square_sum(there * apart)).sqrt()
    fresh = bumps + here / (_TINY + own.sqrt())
    delta[source] = changed(torch.zeros_like(there), there)
    delta[to] = changed(fresh / (_TINY + _square_sum(fresh).sqrt()) * mass, here)


def _cells(rows: Tensor, channels: int, corner: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Index of the windows of ``rows`` in (S, C, H, W), giving (n, C, side, side)."""
    offset = torch.arange(side, device=rows.device)
    down, right = corner[:, :1] + offset, corner[:, 1:2] + offset
    channel = torch.arange(channels, device=rows.device).view(1, -1, 1, 1)
    return rows.view(-1, 1, 1, 1), channel, down[:, None, :, None], right[:, None, None, :]


def _bumps(side: int, flip: Tensor, sign: Tensor) -> Tensor:
    """Bumps (n, C, side, side), transposed where ``flip`` (n,) says, with the signs (n, C)."""
    plain = bump(side, sign.device)
    return torch.where(flip[:, None, None], plain.T, plain)[:, None] * sign[:, :, None, None]


def _square_sum(x: Tensor) -> Tensor:
    """Sum of squares per image and channel, (n, C, 1, 1)."""
    return (x * x).flatten(2).sum(2)[:, :, None, None]


@cache
def bump(side: int, device: torch.device) -> Tensor:
    """Two stacked pyramids of opposite sign, (side, side), of l2 norm 1 (arXiv:1912.00049, 3.3)."""
    upper, lower = _pyramid(side // 2, side), -_pyramid(side - side // 2, side)
    both = torch.cat([upper, lower])
    return uploaded(both / both.square().sum().sqrt(), device)


def _pyramid(height: int, width: int) -> Tensor:
    """Nested rectangles of weight 1 / (k + 1)**2 around the centre, of l2 norm 1."""
    rings = max(height // 2, width // 2) + 1
    ring = torch.maximum(
        (torch.arange(height) - height // 2).abs()[:, None], (torch.arange(width) - width // 2).abs()[None, :]
    )
    weights = torch.tensor([sum(1.0 / (k + 1) ** 2 for k in range(m, rings)) for m in range(rings)])
    values = weights[ring.clamp(max=rings - 1)]
    return values / values.square().sum().sqrt()


def _bump_grid(stream: torch.Generator, channels: int, height: int, width: int) -> Tensor:
    """Tiled bumps of random sign and direction, (C, H, W); tiles beyond the image are cut."""
    side = max(min(height, width) // _GRID, 1)
    down, right = height // side, width // side
    draws = torch.rand((down * right, 1 + channels), generator=stream)
    plain = bump(side, draws.device)
    tiles = torch.where(draws[:, :1, None] > 0.5, plain.T[None], plain[None])
    tiles = (tiles[:, None] * coin(draws[:, 1:])[:, :, None, None]).view(down, right, channels, side, side)
    sheet = tiles.permute(2, 0, 3, 1, 4).reshape(channels, down * side, right * side)
    edge = max((height - side * _GRID) // 2, 0)
    field = torch.zeros(channels, height, width)
    part = sheet[:, : height - edge, : width - edge]
    field[:, edge : edge + part.shape[1], edge : edge + part.shape[2]] = part
    return field
