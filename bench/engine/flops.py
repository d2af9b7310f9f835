"""Arithmetic of a model call, and the peak of the device."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.devices import on_host, wait
from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Side of the square matrices for measuring the peak: large enough to be compute-bound.
_SIDE_HERE, _SIDE_ELSEWHERE = 2048, 8192
_ROUNDS = 5


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations per image: forward, and backward to the image alone; None where not countable."""

    forward: int | None
    backward: int | None

    def total(self, forwards: int, backwards: int) -> int | None:
        """Operations of so many images; None if one of the two is not known."""
        if self.forward is None or self.backward is None:
            return None
        return forwards * self.forward + backwards * self.backward


def arithmetic(model: Model, image: Tensor) -> Arithmetic:
    """Count the matrix products and convolutions of one forward and one input gradient; ``image`` (1, C, H, W).

    The backward of a model without an input gradient is 0. A model that the counter cannot run has no figure: a figure
    of the cost never ends the run that it describes.
    """
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (a second to import)

    x = image.detach().clone().requires_grad_()
    ahead: int | None = None
    try:
        with FlopCounterMode(display=False) as forward, torch.enable_grad():
            loss = model(x).sum()
        ahead = forward.get_total_flops()
        if not loss.requires_grad:
            return Arithmetic(ahead, 0)
        with FlopCounterMode(display=False) as backward:
            (slope,) = torch.autograd.grad(loss, x, allow_unused=True)
        return Arithmetic(ahead, 0 if slope is None else backward.get_total_flops())
    except Exception:  # of the model, or of its operations under the counter
        return Arithmetic(ahead, None)


def gives_gradient(model: Model, image: Tensor) -> bool:
    """Whether logits depend on the image through operations that autograd can follow; ``image`` (1, C, H, W)."""
    x = image.detach().clone().requires_grad_()
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations without a derivative
        out = model(x)
        if not (isinstance(out, Tensor) and out.is_floating_point() and out.dim() == 2):
            return True  # the judge says what is not logits
        if not out.requires_grad:
            return False
        (slope,) = torch.autograd.grad(out.sum(), x, allow_unused=True)
    return slope is not None


@cache
def peak(device: str, precision: Precision) -> float:
    """Measured floating-point operations per second of a large square matrix product, the best of several."""
    kind, side = torch.device(device).type, _SIDE_HERE if on_host(device) else _SIDE_ELSEWHERE
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    a = torch.randn(side, side, device=device, dtype=dtype)
    best = 0.0
    with numerics(Precision.TF32 if precision is Precision.TF32 else Precision.FP32, kind):
        for _ in range(_ROUNDS):
            wait(device)
            began = time.perf_counter()
            a @ a
            wait(device)
            best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best
