"""The copy of a source that the search calls.

- On a CPU, patch embeddings become one matrix product. As a convolution, their gradient takes a sixth of a small ViT's
  step (3 x 32 x 32 images, patch 8, 64 rows, one thread: 0.39 ms per image with the convolution, 0.33 ms without).
- Under bf16, weights of linear layers and convolutions are rounded once instead of in every call; on a CPU, timm's
  attention runs as two products (ViT-B/16, gradient, ms per image: 152 with the fused kernel, 123 without).
- On an accelerator, under tf32 and bf16, the weights of a convolutional network lie channels last, as the units for
  matrix products read them; float32 has kernels of its own for the usual order.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.devices import on_host
from bench.core.nouns import Precision

if TYPE_CHECKING:
    from bench.core.nouns import Model


def copied(model: Model, precision: Precision, *, host: bool) -> Model:
    """The faster copy for this precision, on the CPU (``host``) or elsewhere; the model itself if there is none."""
    if not isinstance(model, nn.Module):
        return model
    low = precision is Precision.BF16
    channels_last = not host and precision is not Precision.FP32 and any(map(_overlaps, model.modules()))
    if not (low or host or channels_last):
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
    return fast.to(memory_format=torch.channels_last) if channels_last else fast


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


def _overlaps(layer: nn.Module) -> bool:
    """A convolution whose windows overlap, which a patch embedding's do not."""
    return isinstance(layer, nn.Conv2d) and any(k > s for k, s in zip(layer.kernel_size, layer.stride, strict=True))
