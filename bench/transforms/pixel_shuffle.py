"""Block-wise pixel shuffling (SHF), the transform of arXiv 2311.16577."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.key import Key
from bench.core.plugins import Plugin
from bench.transforms.blocks import check_block, to_blocks, to_images


class PixelShuffle(Plugin):
    """Shuffle the values of every P x P block by one keyed permutation (SHF)."""

    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The shuffle under one key: b'(k) = b(v_k) for the n = C*P*P values of each block.

        Raises:
            InputError: ``block_size`` does not divide the image.

        Source: arXiv:2311.16577, section III-D.
        """
        check_block(block_size, image_shape)
        n = image_shape[0] * block_size**2
        return Shuffle(block_size, key.permutation(f"pixel-shuffle/P={block_size}", n))


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
        """The x that t takes to ``images``, bit for bit."""
        return to_images(to_blocks(images, self.block_size)[..., self.undo], self.block_size)
