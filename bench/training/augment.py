"""Random affine maps and noise on batches of images in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.core.profile import Augmentation


def augment(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """A randomly moved and noised copy of ``images`` (B, C, H, W), drawn for each image on its own."""
    b, _, h, w = images.shape

    def symmetric(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    angle, zoom = symmetric(b) * how.rotate, 1 + symmetric(b) * how.scale
    shift = symmetric(b, 2) * how.shift * torch.tensor([2 / w, 2 / h])
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    noise = how.noise * torch.randn(images.shape, generator=generator)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return (F.grid_sample(images, grid, align_corners=False) + noise.to(images)).clamp(0, 1)
