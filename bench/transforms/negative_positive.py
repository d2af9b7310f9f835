"""Negative/positive transform (NP) at keyed positions of each block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.blocks import check_block, to_blocks, to_images
from bench.core.key import Key
from bench.core.plugins import Transform


class NegativePositive(Transform):
    """Replace x by 1 - x at a keyed half of the positions of every P x P block (NP)."""

    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The transform under one key; position k is inverted where v_k > n / 2, as in the authors' code.

        (With v a permutation of 0 .. n-1 and n even these are n/2 - 1 positions.)

        Raises:
            InputError: if ``block_size`` does not divide the image.

        Source: arXiv:2010.00801; mask as in github.com/fugokidi/block_transform.
        """
        check_block(block_size, image_shape)
        n = image_shape[0] * block_size**2
        order = key.permutation(f"negative-positive/P={block_size}", n)
        return Negate(block_size, [v > n / 2 for v in order])


class Negate(nn.Module):
    """Images (B, C, H, W) to images of the same shape; differentiable, and its own inverse.

    1 - (1 - x) is exact in floating point wherever 1 - x is, which does not always hold for 8-bit values over 255; the
    inverse then agrees up to one rounding.
    """

    traceable = True  # the same steps for every input

    sign: Tensor
    offset: Tensor

    def __init__(self, block_size: int, mask: list[bool]) -> None:
        super().__init__()
        self.block_size = block_size
        turned = torch.tensor(mask, dtype=torch.float64)
        self.register_buffer("sign", 1 - 2 * turned, persistent=False)
        self.register_buffer("offset", turned, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """t(x, K) = sign * x + offset, values in [0, 1] to values in [0, 1]."""
        blocks = to_blocks(images, self.block_size)
        return to_images(blocks * self.sign.to(blocks) + self.offset.to(blocks), self.block_size)

    def inverse(self, images: Tensor) -> Tensor:
        """The transform is an involution."""
        out: Tensor = self(images)
        return out
