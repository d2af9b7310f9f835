"""Noise and norms of image batches, computed so that the result for an image does not depend on its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.core.budget import Norm
from bench.core.devices import on_host, uploaded

_TINY = 1e-12


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per image (B,) to broadcast over ``like`` (B, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def length(x: Tensor, norm: Norm) -> Tensor:
    """Norm (B,) of each image."""
    flat = x.flatten(1)
    return flat.abs().amax(1) if norm is Norm.LINF else (flat * flat).sum(1).sqrt()


def unit(x: Tensor, norm: Norm) -> Tensor:
    """Scale images to norm 1; zero stays zero."""
    return x / per_image(length(x, norm) + _TINY, x)


def noise(images: Tensor, streams: Sequence[torch.Generator], norm: Norm) -> Tensor:
    """A raw random direction per image: uniform in [-1, 1] under l-inf, normal under l2.

    Drawn image by image in the shape that the official code uses for a batch of one, so that the streams agree.
    """
    shape = (1, *images.shape[1:])
    if norm is Norm.LINF:
        rows = [2 * torch.rand(shape, generator=stream) - 1 for stream in streams]
    else:
        rows = [torch.randn(shape, generator=stream) for stream in streams]
    return uploaded(torch.cat(rows), images.device)


def unit_noise(images: Tensor, streams: Sequence[torch.Generator], norm: Norm) -> Tensor:
    """:func:`noise` of norm 1, scaled image by image so that rounding does not depend on the batch."""
    raw = noise(images, streams, norm)
    return torch.cat([unit(raw[row : row + 1], norm) for row in range(len(raw))])


def chosen(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take ``new`` in the rows that ``mask`` (B,) sets, ``old`` elsewhere; ``old`` itself if none is seen to be set."""
    if not on_host(mask.device):
        return torch.where(per_image(mask, new), new, old)
    rows = mask.nonzero().squeeze(1)
    return old.index_copy(0, rows, new[rows]) if len(rows) else old


def can_skip(mask: Tensor) -> bool:
    """Whether ``mask`` is empty, where checking is free; always False on an accelerator, where it synchronises."""
    return on_host(mask.device) and not bool(mask.any())
