"""Arithmetic of a model call, and the peak of the device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Side of the square matrices for measuring the peak: large enough to be compute-bound.
_SIDE = {"cpu": 2048, "cuda": 8192}
_ROUNDS = 5


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations per image: forward, and backward to the image alone."""

    forward: int
    backward: int


def arithmetic(model: Model, image: Tensor) -> Arithmetic:
    """Count the matrix products and convolutions of one forward and one input gradient; ``image`` (1, C, H, W)."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (a second to import)

    x = image.detach().clone().requires_grad_()
    with FlopCounterMode(display=False) as forward, torch.enable_grad():
        loss = model(x).sum()
    if not loss.requires_grad:
        return Arithmetic(forward.get_total_flops(), 0)
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(loss, x)
    return Arithmetic(forward.get_total_flops(), backward.get_total_flops())


@cache
def peak(device: str, precision: Precision) -> float:
    """Measured floating-point operations per second of a large square matrix product, the best of several."""
    kind = device.partition(":")[0]
    side = _SIDE.get(kind, 2048)
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    a = torch.randn(side, side, device=device, dtype=dtype)
    best = 0.0
    with numerics(Precision.TF32 if precision is Precision.TF32 else Precision.FP32, kind):
        for _ in range(_ROUNDS):
            _wait(kind)
            began = time.perf_counter()
            a @ a
            _wait(kind)
            best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()
