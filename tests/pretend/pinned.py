"""Pinned host memory: what ``pin_memory()`` gives on a machine without any; copies from it can be told apart."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from tests.pretend.backend import Backend

_PINNED: dict[int, weakref.ref[Tensor]] = {}
_LIBRARY = torch.library.Library("aten", "IMPL")


def is_pinned(tensor: Tensor, device: torch.device | None = None) -> bool:
    """Whether a CPU tensor lies in pinned memory."""
    address = tensor.untyped_storage().data_ptr()
    held = _PINNED.get(address)
    return held is not None and held() is not None


def _pin(tensor: Tensor) -> Tensor:
    out = torch.empty_like(tensor).copy_(tensor)
    address = out.untyped_storage().data_ptr()
    _PINNED[address] = weakref.ref(out, lambda _: _PINNED.pop(address, None))
    return out


def pin(backend: Backend) -> None:
    """Make CPU tensors pinnable while the device is used."""

    def kernel(tensor: Tensor, device: torch.device | None = None) -> Tensor:
        if not backend.used:
            raise RuntimeError("Cannot access accelerator device when none is available.")
        return _pin(tensor)

    _LIBRARY.impl("_pin_memory", kernel, "CPU")
    _LIBRARY.impl("is_pinned", is_pinned, "CPU")
