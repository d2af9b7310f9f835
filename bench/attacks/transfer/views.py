"""Random copies of images that a gradient is averaged over; each image of a batch is transformed independently.

All functions take images (B, C, H, W) and parameters with one row per image, and are differentiable in the images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attacks.transfer.draws import Draws


def shifted(x: Tensor, by: Tensor) -> Tensor:
    """Images shifted by whole pixels, ``by`` (B, 2) int64 down and right; black enters at the border."""
    for axis in (2, 3):
        size = x.shape[axis]
        shape = (len(x), 1, size, 1) if axis == 2 else (len(x), 1, 1, size)
        place = (torch.arange(size, device=x.device) - by[:, axis - 2, None]).view(shape)
        x = x.gather(axis, (place % size).expand(-1, *x.shape[1:])) * ((place >= 0) & (place < size))
    return x


def drawn_shift(x: Tensor, reach: int, draws: Draws, *purpose: str | int) -> Tensor:
    """Images shifted by up to ``reach`` pixels on both axes."""
    by = (draws.uniform((2,), "shift", *purpose) * (2 * reach + 1)).long() - reach
    return shifted(x, by)


def resized(x: Tensor, side: Tensor, corner: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Images enlarged, placed on a larger black canvas, and the canvas resized to the image's size.

    Uses one bilinear interpolation where the published code uses two in succession.

    Args:
        x: Images (B, C, H, W).
        side: Their height and width on the canvas (B, 2), in pixels.
        corner: Their top and left on the canvas (B, 2), in pixels.
        canvas: Height and width of the canvas in pixels.

    Source: Xie et al., arXiv:1803.06978.
    """
    places = []
    for axis, size in enumerate(x.shape[2:]):
        place = (torch.arange(size, device=x.device) + 0.5) * (canvas[axis] / size)
        ratio = size / side[:, axis, None].float()
        places.append((place - corner[:, axis, None]) * ratio - 0.5)
    rows, columns = places
    full = (len(x), *x.shape[2:])
    return sampled(x, rows[:, :, None].expand(full), columns[:, None, :].expand(full))


def drawn_diversity(x: Tensor, probability: float, rate: float, draws: Draws, *purpose: str | int) -> Tensor:
    """Each image resized to between 1 and ``rate`` times its side and padded, with ``probability``, or unchanged.

    Source: DI, Xie et al., arXiv:1803.06978.
    """
    u = draws.uniform((4,), "diversity", *purpose)
    sizes = x.shape[2:]
    canvas = int(sizes[0] * rate), int(sizes[1] * rate)
    sides = [size + (u[:, 1] * max(all_of - size, 1)).long() for size, all_of in zip(sizes, canvas, strict=True)]
    side = torch.stack(sides, 1)
    corner = torch.stack([(u[:, 2 + i] * (canvas[i] - side[:, i] + 1)).long() for i in (0, 1)], 1)
    chosen = u[:, 0] < probability
    return torch.where(chosen.view(-1, 1, 1, 1), resized(x, side, corner, canvas), x)


def drawn_blocks(x: Tensor, blocks: int, degrees: float, draws: Draws, *purpose: str | int) -> Tensor:
    """Images cut into strips that are shuffled, each strip rotated, cut across and its pieces shuffled.

    Strips run along a random axis; their widths are random too. One bilinear interpolation for all.

    Source: BSR, Wang et al., arXiv:2308.10299.
    """
    b, _, height, width = x.shape
    u = draws.uniform((2 * blocks * (blocks + 1) + blocks + 1,), "blocks", *purpose)
    across = u[:, 0] < 0.5  # strips are columns
    sizes = torch.where(across, width, height), torch.where(across, height, width)
    angle = (u[:, 1 : blocks + 1] * 2 - 1) * math.radians(degrees)
    cuts = u[:, blocks + 1 :].view(b, blocks + 1, 2, blocks)
    i = torch.arange(height, device=x.device).view(1, -1, 1).expand(b, -1, width)
    j = torch.arange(width, device=x.device).view(1, 1, -1).expand(b, height, -1)
    turn = across.view(-1, 1, 1)
    p, strip, bounds = _unshuffled(torch.where(turn, j, i), cuts[:, :1].expand(-1, blocks, -1, -1), None, sizes[0])
    q, _, _ = _unshuffled(torch.where(turn, i, j), cuts[:, 1:], strip, sizes[1])
    low, high = (bounds[:, 0, at : at + blocks].gather(1, strip.flatten(1)).view_as(strip) for at in (0, 1))
    theta = angle.gather(1, strip.flatten(1)).view_as(strip)
    dp, dq = p - (low + high - 1) / 2, q - (sizes[1].view(-1, 1, 1) - 1) / 2
    p_from = (low + high - 1) / 2 + dp * theta.cos() - dq * theta.sin()
    q_from = (sizes[1].view(-1, 1, 1) - 1) / 2 + dp * theta.sin() + dq * theta.cos()
    inside = (p_from > low - 0.5) & (p_from < high - 0.5)
    rows, columns = torch.where(turn, q_from, p_from), torch.where(turn, p_from, q_from)
    return sampled(x, rows, columns) * inside[:, None]


def _unshuffled(at: Tensor, cuts: Tensor, strip: Tensor | None, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the pixels at ``at`` (B, H, W) on their axis before its pieces were shuffled.

    Args:
        at: Integer positions in [0, size).
        cuts: (B, S, 2, N): for each of S strips, random numbers for the lengths and the order of its N pieces.
        strip: (B, H, W) index of the strip that contains a pixel; None for the first.
        size: (B,) length of the axis.

    Returns:
        The positions, the piece that contains each, and the ends of the pieces (B, S, N + 1).
    """
    n = cuts.shape[-1]
    share = 1 + cuts[:, :, 0]  # the published code draws lengths in the ratio of uniform numbers in [1, 2)
    ends = (share.cumsum(-1) / share.sum(-1, keepdim=True) * size.view(-1, 1, 1)).round().long()
    bounds = torch.cat([torch.zeros_like(ends[..., :1]), ends], -1)
    order = cuts[:, :, 1].argsort(dim=-1, stable=True)  # the piece at each position
    length = bounds.diff(dim=-1).gather(-1, order)
    stops = length.cumsum(-1)
    row = torch.zeros_like(at) if strip is None else strip
    flat = row.flatten(1)[..., None].expand(-1, -1, n)
    stop, named = stops.gather(1, flat), order.gather(1, flat)
    slot = (at.flatten(1)[..., None] >= stop).sum(-1, keepdim=True).clamp(max=n - 1)
    piece = named.gather(-1, slot)
    start = stop.gather(-1, slot) - length.gather(1, flat).gather(-1, slot)
    low = bounds[..., :-1].gather(1, flat).gather(-1, piece)
    return ((at.flatten(1)[..., None] - start + low).view_as(at), piece.view_as(at), bounds)


def sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear values of ``x`` at positions (B, H, W) in pixels, 0 outside the image."""
    height, width = x.shape[2:]
    grid = torch.stack([(columns * 2 + 1) / width - 1, (rows * 2 + 1) / height - 1], -1)
    return F.grid_sample(x, grid.to(x), mode="bilinear", padding_mode="zeros", align_corners=False)
