"""A copy of the source that computes the same function faster, used for the search only.

The search's findings are measured again on the source itself, so rounding may differ here. The changes:

- On a CPU, patch embeddings become one matrix product. As a convolution, their gradient takes a sixth of a small ViT's
  step (3 x 32 x 32 images, patch 8, 64 rows, one thread: 0.39 ms per image with the convolution, 0.33 ms without).
- On a CPU, the calls are recorded once and replayed without Python, for which threads would wait on each other (two
  threads on the same ViT, forward, us per image: 94 unchanged and 60 replayed with 8 rows each, 79 and 55 with 32).
- Under bf16, weights of linear layers and convolutions are rounded once instead of in every call; on a CPU, timm's
  attention runs as two products (ViT-B/16, gradient, ms per image: 152 with the fused kernel, 123 without).
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attacks.autoattack.batching import attempt
from bench.core.devices import on_host
from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Packages with modules that treat every input alike, so that a recording is valid; other modules declare
# ``traceable = True`` if they do (no randomness, no data-dependent branches).
_TRACEABLE = ("torch", "timm", "peft")
# Larger models spend negligible time outside their products (ViT-B/16: 87 million), and are slow to record.
_MOST_WEIGHTS = 20_000_000
_MANY_CALLS = 500
# A copy must reproduce the logits of the model, and a recording those of the copy, up to this share of the largest.
_AGREES = {Precision.FP32: 1e-4, Precision.TF32: 1e-3, Precision.BF16: 5e-2}
# Gradients round more than logits do, and bfloat16 may change a branch of the network.
_SLOPE_AGREES = {Precision.FP32: 1e-2, Precision.TF32: 5e-2, Precision.BF16: 0.5}


@dataclass
class Search:
    """What the search calls instead of ``model``.

    Args:
        model: The source.
        precision: Of the search.
        example: Some images (B, C, H, W) of the run.
    """

    model: Model
    precision: Precision
    example: Tensor

    @cached_property
    def copy(self) -> Model:
        """The faster copy, or the model itself if a copy gains nothing or behaves differently."""
        fast = _copied(self.model, self.precision, host=on_host(self.example.device))
        return fast if self._alike(fast, self.model, 4) else self.model

    @cached_property
    def recording(self) -> Model:
        """The copy as a recording, if that is valid for it."""
        if not on_host(self.example.device):
            return self.copy
        replay = _recorded(self.copy, self.precision, self._rows(8))
        same = all(self._alike(replay, self.copy, rows) for rows in (8, 20, 20))
        return replay if same and self._same_slope(replay, self.copy, 8) else self.copy

    def _alike(self, fast: Model, slow: Model, rows: int) -> bool:
        """Whether two models give the same logits, up to the rounding of the precision."""
        if fast is slow:
            return True
        x = self._rows(rows)
        with torch.no_grad(), numerics(self.precision, x.device.type):
            both = attempt(lambda: (fast(x).float(), slow(x).float()))
        if both is None:
            return False
        a, b = both
        off = float((a - b).abs().max()) if a.shape == b.shape else float("inf")
        return off <= _AGREES[self.precision] * max(float(b.abs().max()), 1e-6)

    def _same_slope(self, fast: Model, slow: Model, rows: int) -> bool:
        """Whether two models that give the same logits have the same gradient.

        A recording drops ``detach``, which loses the substitute gradient of a non-differentiable step.
        """
        if fast is slow:
            return True

        def slope(model: Model) -> Tensor:
            x = self._rows(rows).clone().requires_grad_()
            with torch.enable_grad(), numerics(self.precision, x.device.type):
                top = model(x).float().topk(2, dim=1).values
            found: Tensor = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), x, allow_unused=True)[0]
            return torch.zeros_like(x) if found is None else found

        both = attempt(lambda: (slope(fast), slope(slow)))
        if both is None:
            return False
        a, b = both
        off = float((a - b).norm())
        return off <= _SLOPE_AGREES[self.precision] * max(float(b.norm()), 1e-12)

    def _rows(self, count: int) -> Tensor:
        return self.example[torch.arange(count, device=self.example.device) % len(self.example)]

    def for_calls(self, calls: int) -> Model:
        """The model for an attack with ``calls`` calls per image; recording takes as long as a hundred steps."""
        return self.recording if calls >= _MANY_CALLS else self.copy


def _copied(model: Model, precision: Precision, *, host: bool) -> Model:
    if not isinstance(model, nn.Module):
        return model
    low = precision is Precision.BF16
    if not low and not host:
        return model
    try:
        fast = copy.deepcopy(model)
    except (RuntimeError, TypeError):
        return model
    for parent in list(fast.modules()):
        for name, layer in list(parent.named_children()):
            if _tiles(layer):
                setattr(parent, name, PatchProduct(layer))
    if low:
        for layer in fast.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, PatchProduct)):
                layer.to(torch.bfloat16)
            if host and hasattr(layer, "fused_attn"):
                setattr(layer, "fused_attn", False)  # noqa: B010 (an attribute of timm's, unknown to nn.Module)
    return fast


def _recorded(model: Model, precision: Precision, example: Tensor) -> Model:
    if not isinstance(model, nn.Module):
        return model
    large = sum(p.numel() for p in model.parameters()) > _MOST_WEIGHTS
    if large or model.training or not all(_traceable(layer) for layer in model.modules()):
        return model
    try:
        with warnings.catch_warnings(), torch.no_grad(), numerics(precision, "cpu"):
            warnings.simplefilter("ignore")
            replay: nn.Module = torch.jit.freeze(torch.jit.trace(model, example, check_trace=False))
    except Exception:  # the copy itself handles whatever the recorder cannot
        return model
    return replay


def _traceable(layer: nn.Module) -> bool:
    return type(layer).__module__.split(".")[0] in _TRACEABLE or getattr(layer, "traceable", False) is True


class PatchProduct(nn.Module):
    """A convolution with non-overlapping windows and no padding, as a matrix product; (B, C, H, W) in and out."""

    traceable = True

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"a convolution is expected, got {type(layer).__name__}")
        self.weight, self.bias, self.stride = layer.weight, layer.bias, layer.stride

    def forward(self, x: Tensor) -> Tensor:
        """The output of the convolution, up to rounding."""
        (high, wide), (count, channels, height, width) = self.weight.shape[2:], x.shape
        if not torch.jit.is_tracing() and (height % high or width % wide):  # type: ignore[attr-defined, no-untyped-call]
            return F.conv2d(x, self.weight, self.bias, self.stride)
        down, right = height // high, width // wide
        patches = x.reshape(count, channels, down, high, right, wide).permute(0, 2, 4, 1, 3, 5)
        rows = F.linear(patches.reshape(count, down * right, -1), self.weight.flatten(1), self.bias)
        return rows.transpose(1, 2).reshape(count, -1, down, right)


def _tiles(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d or not on_host(layer.weight.device):
        return False
    plain = layer.padding in ((0, 0), "valid") and layer.dilation == (1, 1) and layer.groups == 1
    return plain and layer.stride == layer.kernel_size != (1, 1)
