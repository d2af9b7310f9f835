"""Images to rows of blocks and back.

The order inside a block (row, column, channel) is the convention of the authors' public code
(github.com/fugokidi/block_transform), so that a permutation means the same here and there.
"""

from __future__ import annotations

from torch import Tensor

from bench.core.errors import InputError, ShapeError


def check_block(block_size: int, image_shape: tuple[int, int, int]) -> None:
    """Refuse a block size that does not divide the image.

    Raises:
        InputError: with the sizes that would fit.
    """
    _, height, width = image_shape
    if block_size < 1 or height % block_size or width % block_size:
        fits = [p for p in range(1, min(height, width) + 1) if not height % p and not width % p]
        raise InputError(
            f"block size P = {block_size} does not divide the {height} x {width} image; expected one of "
            f"{', '.join(map(str, fits))}"
        )


def to_blocks(images: Tensor, block_size: int) -> Tensor:
    """Images (B, C, H, W) to blocks (B, H/P, W/P, P*P*C), a copy."""
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
