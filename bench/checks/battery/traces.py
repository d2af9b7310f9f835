"""State that a model keeps between calls: all its tensors and attributes, compared before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEPTH = 4  # nesting of lists within attributes
_TORCH_OWN = frozenset(vars(nn.Module())) - {"training"}  # parameters, buffers, hooks: read separately


def look(model: nn.Module) -> dict[str, Any]:
    """A fingerprint of the complete state of ``model``, by name."""
    held: dict[str, Any] = {f"weight {n}": _plain(p, 0) for n, p in model.named_parameters()}
    kept = set(model.state_dict(keep_vars=True))
    for name, buffer in model.named_buffers():
        held[f"{'weight' if name in kept else 'attribute'} {name}"] = _plain(buffer, 0)
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in _TORCH_OWN:
                held[f"attribute {name}.{key}".replace(" .", " ")] = _plain(value, 0)
    return held


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names whose fingerprints differ, weights first."""
    names = [n for n in {**before, **after} if before.get(n, "absent") != after.get(n, "absent")]
    return sorted(names, key=lambda n: (not n.startswith("weight"), n))


def _plain(value: Any, depth: int) -> Any:  # noqa: PLR0911 (one line for each kind)
    if isinstance(value, Tensor):
        return _digest(value)
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes() if value.dtype != object else len(value))
    if isinstance(value, torch.Generator):
        return "generator"  # it changes with every draw; draws show in the answers
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if depth >= _DEPTH:
        return type(value).__name__
    if isinstance(value, nn.Module):  # held outside the module tree
        return [_plain(t, depth + 1) for t in value.state_dict().values()]
    if isinstance(value, Mapping):
        return {str(k): _plain(v, depth + 1) for k, v in list(value.items())}
    if isinstance(value, Iterable) and hasattr(value, "__len__"):
        parts = [_plain(v, depth + 1) for v in list(value)]
        return sorted(map(str, parts)) if isinstance(value, (set, frozenset)) else parts
    inner = getattr(value, "__dict__", None)
    return {k: _plain(v, depth + 1) for k, v in inner.items()} if isinstance(inner, dict) else type(value).__name__


def _digest(t: Tensor) -> tuple[Any, ...]:
    """Shape with sums that change whenever a value changes."""
    if t.is_meta or t.is_sparse or t.numel() == 0:
        return (tuple(t.shape), str(t.dtype))
    flat = t.detach().reshape(-1)
    flat = torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat
    wide = flat.double()
    place = torch.arange(len(wide), device=wide.device).remainder(251).double()
    return (tuple(t.shape), str(t.dtype), float(wide.sum()), float((wide * wide).sum()), float((wide * place).sum()))
