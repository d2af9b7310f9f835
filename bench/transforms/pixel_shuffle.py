"""Block-wise pixel shuffling (SHF), the transform of arXiv 2311.16577."""

from __future__ import annotations

from torch import nn

from bench.core.blocks import Shuffle, check_block
from bench.core.key import Key
from bench.core.plugins import Transform


class PixelShuffle(Transform):
    """Shuffle the values of every P x P block by one keyed permutation (SHF)."""

    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The shuffle under one key: b'(k) = b(v_k) for the n = C*P*P values of each block.

        Raises:
            InputError: if ``block_size`` does not divide the image.

        Source: arXiv:2311.16577, section III-D.
        """
        check_block(block_size, image_shape)
        n = image_shape[0] * block_size**2
        return Shuffle(block_size, key.permutation(f"pixel-shuffle/P={block_size}", n))
