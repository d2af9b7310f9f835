"""A model's logits, in float32 and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.errors import InputError
from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model


def answer(model: Model, images: Tensor, *, gradient: bool = False) -> Tensor:
    """Logits (B, K) of one batch (B, C, H, W), float32, detached.

    Args:
        model: Images in [0, 1] to logits.
        images: The batch.
        gradient: Whether the model is called as for a gradient with respect to the images.

    Raises:
        InputError: if the model answers with anything else than logits.
    """
    with torch.set_grad_enabled(gradient), numerics(Precision.FP32, images.device.type):
        return _logits(model(images.clone().requires_grad_() if gradient else images), len(images)).detach().float()


def padded(model: Model, images: Tensor, rows: int, *, gradient: bool = False) -> Tensor:
    """Logits (n, K) of ``images`` (n, C, H, W), ``rows`` in every call, the last call padded with its last image.

    Raises:
        InputError: if the model answers with anything else than logits.
    """
    parts = []
    for chunk in images.split(rows):
        padding = chunk[-1:].expand(rows - len(chunk), *chunk.shape[1:])
        parts.append(answer(model, torch.cat([chunk, padding]), gradient=gradient)[: len(chunk)])
    return torch.cat(parts)


def _logits(out: object, rows: int) -> Tensor:
    """What a model answered, if it is logits."""
    if isinstance(out, Tensor) and out.shape[:1] == (rows,) and out.dim() == 2 and out.is_floating_point():
        return out
    got = f"a {out.dtype} tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
    raise InputError(f"the model answers {rows} images with {got}; expected logits: a floating-point tensor of shape "
                     f"({rows}, classes)")  # fmt: skip
