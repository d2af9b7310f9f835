"""What the device refuses, and what it makes the host wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tests.pretend.ledger import LEDGER

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
# Operations whose result, or its shape, the host must know. (Those of torch.cuda.set_sync_debug_mode, as far as an
# attack may use them.)
_WAITING = {
    "aten::_local_scalar_dense": "a value is read",
    "aten::item": "a value is read",
    "aten::equal": "a value is read",
    "aten::nonzero": "nonzero",
    "aten::masked_select": "masked_select",
    "aten::_unique2": "unique",
    "aten::unique_dim": "unique",
    "aten::unique_consecutive": "unique",
    "aten::bincount": "bincount",
    "aten::repeat_interleave": "repeat_interleave",
}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
# They change the shape of an operand that stays where it is.
RESHAPING = {"aten::resize_", "aten::set_", "aten::t_", "aten::transpose_", "aten::squeeze_", "aten::unsqueeze_"}


def multiplied(func: Any, args: Any) -> int:
    """Rows of a matrix product, by which memory may run out."""
    at = {"aten::mm": 0, "aten::addmm": 1}.get(func._schema.name)
    return 0 if at is None else len(args[at])


def check_mixing(func: Any, elsewhere: Sequence[Tensor]) -> None:
    """Raise RuntimeError for operands on another device: numbers may be, and an index, which is copied."""
    bad = [t for t in elsewhere if t.dim() > 0]
    if not bad:
        return
    if func._schema.name in _INDEXING and all(t.dtype in (torch.int64, torch.bool) for t in bad):
        LEDGER.wait("index on the CPU")
        return
    raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, pretend:0 and "
                       f"{bad[0].device}! ({func._schema.name})")  # fmt: skip


def note_waiting(func: Any, args: Any) -> None:
    """Note an operation that the host waits for."""
    name = func._schema.name
    if name in _WAITING:
        LEDGER.wait(_WAITING[name])
    elif name in _INDEXING and any(isinstance(t, Tensor) and t.dtype in (torch.bool, torch.uint8) for t in args[1]):
        filling = name != "aten::index" and args[2].numel() == 1 and len(args[1]) == 1
        if not filling:  # with one number, a GPU fills where the mask is set
            LEDGER.wait("index by a mask")
