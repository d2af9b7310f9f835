"""Autocast on the pretended device: what a GPU computes in bfloat16, in float32, or in the wider type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# torch/aten/autocast_mode.h (torch 2.15): what is cast to the lower type, and to the widest type of the operands; all
# other operations that are registered for autocast on a GPU are computed in float32.
_LOWER = {
    "_convolution", "_convolution.deprecated", "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul",
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input",
    "convolution", "einsum", "linalg_multi_dot", "linalg_vecdot", "linear", "matmul", "mm", "mv", "prelu",
    "scaled_dot_product_attention",
}  # fmt: skip
_WIDEST = {
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "grid_sampler", "index_put", "scatter_add", "tensordot",
    "vdot",
}  # fmt: skip
_KEY = "AutocastPrivateUse1"
_KEYS = torch._C.DispatchKeySet(torch._C._parse_dispatch_key(_KEY))


def register(library: Any, device: str) -> None:
    """Register PyTorch's operations that a GPU has, and let all others pass."""
    for full in torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA"):
        space, _, name = full.partition("::")
        base, _, overload = name.partition(".")
        packet = getattr(getattr(torch.ops, space), base, None)
        if space == "aten" and packet is not None and (overload or "default") in packet.overloads():
            op = getattr(packet, overload or "default")
            library.impl(op, _cast(op, _type_for(name), device), _KEY)


def _type_for(name: str) -> Callable[[list[Tensor]], torch.dtype]:
    if name in _LOWER:
        return lambda _: torch.get_autocast_dtype("pretend")
    if name in _WIDEST:
        return lambda given: torch.float32 if any(t.dtype == torch.float32 for t in given) else given[0].dtype
    return lambda _: torch.float32


def _cast(op: Any, choose: Callable[[list[Tensor]], torch.dtype], device: str) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_KEYS):
            flat: list[Tensor] = []
            _each(args, lambda t: flat.append(t) or t)
            _each(kwargs, lambda t: flat.append(t) or t)
            if not flat:
                return op(*args, **kwargs)
            goal = choose(flat)
            return op(*_each(args, lambda t: t.to(goal)), **_each(kwargs, lambda t: t.to(goal)))

    return kernel


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """``value`` with its floating-point tensors (no float64) changed."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, (list, tuple)):
        return type(value)([_each(v, change) for v in value])
    if isinstance(value, dict):
        return {name: _each(v, change) for name, v in value.items()}
    return value
