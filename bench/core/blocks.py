"""Conversion of images to rows of blocks and back, with one order for the values of every block.

The order inside a block (row, column, channel) follows the authors' public code
(github.com/fugokidi/block_transform), so that a permutation has the same meaning in both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.errors import InputError, ShapeError


def check_block(block_size: int, image_shape: tuple[int, int, int]) -> None:
    """Check that a block size divides the image.

    Raises:
        InputError: if it does not; lists the valid sizes.
    """
    _, height, width = image_shape
    if block_size < 1 or height % block_size or width % block_size:
        fits = [p for p in range(1, min(height, width) + 1) if not height % p and not width % p]
        raise InputError(
            f"block size P = {block_size} does not divide the {height} x {width} image; expected one of "
            f"{', '.join(map(str, fits))}"
        )


def to_blocks(images: Tensor, block_size: int) -> Tensor:
    """Copy images (B, C, H, W) to blocks (B, H/P, W/P, P*P*C)."""
    b, c, h, w = images.shape
    p = block_size
    if h % p or w % p:
        raise ShapeError(f"images are {h} x {w}; expected sides divisible by the block size {p}")
    grid = images.reshape(b, c, h // p, p, w // p, p)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(b, h // p, w // p, p * p * c)


def to_images(blocks: Tensor, block_size: int) -> Tensor:
    """Inverse of :func:`to_blocks`."""
    b, rows, columns, n = blocks.shape
    p = block_size
    c = n // (p * p)
    grid = blocks.reshape(b, rows, columns, p, p, c).permute(0, 5, 1, 3, 2, 4)
    return grid.reshape(b, c, rows * p, columns * p)


class Shuffle(nn.Module):
    """Images (B, C, H, W) to shuffled images of the same shape; differentiable, with an exact inverse."""

    traceable = True  # the same steps for every input

    order: Tensor
    undo: Tensor

    def __init__(self, block_size: int, order: list[int]) -> None:
        super().__init__()
        self.block_size = block_size
        v = torch.tensor(order)
        self.register_buffer("order", v, persistent=False)
        self.register_buffer("undo", v.argsort(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """t(x, K)."""
        return to_images(to_blocks(images, self.block_size)[..., self.order], self.block_size)

    def inverse(self, images: Tensor) -> Tensor:
        """The inverse of t, bit for bit."""
        return to_images(to_blocks(images, self.block_size)[..., self.undo], self.block_size)
