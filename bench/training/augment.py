"""Random affine maps and noise on images in [0, 1], drawn for a whole step and thus independent of the process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.core.profile import Augmentation


@dataclass(frozen=True)
class Moves:
    """Random numbers for B images: affine maps (B, 2, 3) and noise (B, C, H, W); None if not used."""

    theta: Tensor | None
    noise: Tensor | None

    def take(self, part: slice) -> Moves:
        """The random numbers of some of the images."""
        return Moves(*(None if x is None else x[part] for x in (self.theta, self.noise)))

    def apply(self, images: Tensor) -> Tensor:
        """Transformed and noisy ``images`` (B, C, H, W), in [0, 1]."""
        if self.theta is None and self.noise is None:
            return images
        if self.theta is not None:
            grid = F.affine_grid(self.theta.to(images), list(images.shape), align_corners=False)
            images = F.grid_sample(images, grid, align_corners=False)
        if self.noise is not None:
            images = images + self.noise.to(images)
        return images.clamp(0, 1)


def draw_moves(count: int, shape: tuple[int, ...], how: Augmentation, generator: Generator) -> Moves:
    """Random numbers for ``count`` images of ``shape`` (C, H, W), independent between images."""
    h, w = shape[-2:]

    def symmetric(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator) * 2 - 1

    theta = None
    if how.shift or how.rotate or how.scale:
        angle, zoom = symmetric(count) * how.rotate, 1 + symmetric(count) * how.scale
        shift = symmetric(count, 2) * how.shift * torch.tensor([2 / w, 2 / h])
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
        theta = torch.stack(rows, 1)
    noise = how.noise * torch.randn(count, *shape, generator=generator) if how.noise else None
    return Moves(theta, noise)
