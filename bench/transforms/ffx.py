"""Format-preserving encryption of pixel values (FFX) at keyed positions of each block."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.core.blocks import check_block, to_blocks, to_images
from bench.core.key import Key
from bench.core.plugins import Transform

# Pixel values of 8 bits are encrypted as decimal numbers of three digits (arXiv:2010.00801, section III-C).
_LEVELS, _DIGITS = 256, 3


class Ffx(Transform):
    """Encrypt the 8-bit value at a keyed half of the positions of every P x P block (FFX); not differentiable."""

    package = "pyffx"

    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The transform under one key: mask by its permutation, table by its password.

        Position k is encrypted where v_k > n / 2, as in the authors' code. The table maps 0 .. 255 to distinct
        numbers of 0 .. 999; all positions are divided by its largest number.

        Raises:
            InputError: if ``block_size`` does not divide the image.

        Source: arXiv:2010.00801; mask, table and division as in github.com/fugokidi/block_transform. That code
        rounds all positions down to 8-bit values, so that k / 255 in float32 may become k - 1. Here a value is rounded
        to the nearest of the 256 levels, and positions that are not encrypted stay continuous. On 8-bit images the two
        are equal except for those off-by-one values.
        """
        check_block(block_size, image_shape)
        n = image_shape[0] * block_size**2
        order = key.permutation(f"ffx/P={block_size}", n)
        return Encrypt(block_size, [v > n / 2 for v in order], table(key.derive(f"ffx/password/P={block_size}")))


def table(password: bytes) -> list[int]:
    """The number in 0 .. 999 that encrypts each 8-bit value; all numbers differ."""
    import pyffx  # noqa: PLC0415 (an extra)

    cipher = pyffx.Integer(password, length=_DIGITS)
    return [cipher.encrypt(value) for value in range(_LEVELS)]


class Encrypt(nn.Module):
    """Images (B, C, H, W) in [0, 1] to images of the same shape in [0, 1].

    At an encrypted position the forward value comes from the table, which has zero gradient wherever it exists. The
    backward pass uses the slope of the table between the two neighbours of the level (BPDA, arXiv:1802.00420), which
    follows the effect of one level up or down. White-box PGD with 50 steps (digits, key-full, P = 4, 200 images, clean
    accuracy 98%) leaves, by backward approximation: this slope 0% at eps 0.01 and at 0.03; the scaling of the other
    positions ("identity") 95.5% and 80.5%; no gradient 78% at 0.03; the line fitted to the table 43% at 0.03.
    """

    traceable: ClassVar[bool] = True  # the same steps for every input, and gradients that a recording keeps
    bpda: ClassVar[str] = "secant"  # backward approximation at the encrypted positions

    mask: Tensor
    codes: Tensor
    slopes: Tensor
    scale: Tensor
    ranked: Tensor
    levels: Tensor

    def __init__(self, block_size: int, mask: list[bool], codes: list[int]) -> None:
        super().__init__()
        self.block_size = block_size
        numbers = torch.tensor(codes, dtype=torch.float64)
        scaled = numbers / numbers.max()
        ranked, levels = scaled.sort()
        self.register_buffer("mask", torch.tensor(mask), persistent=False)
        self.register_buffer("codes", scaled, persistent=False)
        (slopes,) = torch.gradient(scaled)  # for each level, one-sided at both ends
        self.register_buffer("slopes", slopes * (_LEVELS - 1), persistent=False)
        self.register_buffer("scale", (_LEVELS - 1) / numbers.max(), persistent=False)
        self.register_buffer("ranked", ranked, persistent=False)
        self.register_buffer("levels", levels, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """t(x, K); exactly the table's numbers over the largest of them at encrypted positions."""
        blocks = to_blocks(images, self.block_size)
        line = blocks * self.scale.to(blocks)
        level = (blocks * (_LEVELS - 1)).round().long().clamp(0, _LEVELS - 1)
        encrypted = self.codes.to(blocks)[level] + self.slopes.to(blocks)[level] * _nothing_with_a_slope(blocks)
        return to_images(torch.where(self.mask, encrypted, line), self.block_size)

    def inverse(self, images: Tensor) -> Tensor:
        """The inverse of t; restores 8-bit images up to float rounding.

        Encrypted positions return the level with the nearest number, as k / 255.
        """
        blocks = to_blocks(images, self.block_size)
        code = blocks.double().contiguous()
        after = torch.searchsorted(self.ranked, code).clamp(1, _LEVELS - 1)
        nearest = after - (code - self.ranked[after - 1] <= self.ranked[after] - code).long()
        decrypted = self.levels[nearest].to(blocks) / (_LEVELS - 1)
        line = (code / self.scale.to(blocks).double()).to(blocks)
        return to_images(torch.where(self.mask, decrypted, line), self.block_size)


def _nothing_with_a_slope(values: Tensor) -> Tensor:
    """Zeros with the gradient of ``values``, which are in [0, 1].

    ``values - values.detach()`` would work, but torch.jit drops the detach of operations recorded without a graph, and
    the gradient with it. Rounding has zero gradient, and floats times this power of two are integers already (or so
    small that the remainder after rounding is negligible in float).
    """
    much = torch.finfo(values.dtype).eps ** -2
    return values - (values * much).round() / much
