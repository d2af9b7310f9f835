"""Small models and images for attacks on the pretended device."""

from __future__ import annotations

import torch
from timm.models import VisionTransformer
from torch import nn

from bench.core.nouns import Batch

SIDE = 16


def small_vit() -> nn.Module:
    """A vision transformer of two blocks with fixed random weights, 4 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = VisionTransformer(img_size=SIDE, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=4)
    for block in net.blocks:
        block.attn.fused_attn = False  # the fused kernel of the CPU is none of the device's
    return net.eval().requires_grad_(False)


def linear() -> nn.Module:
    """A linear model with fixed random weights, 10 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 10))
    return net.eval().requires_grad_(False)


def images(count: int) -> Batch:
    """Random images with labels 0."""
    pixels = torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return Batch(tuple(f"image-{i}" for i in range(count)), pixels, torch.zeros(count, dtype=torch.int64))
