"""Arithmetic precision of model calls: true float32, or the low precision of a search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.core.nouns import Precision


@contextmanager
def numerics(precision: Precision, device_type: str) -> Iterator[None]:
    """Make models compute in ``precision`` inside; the process's settings are restored afterwards.

    ``fp32`` allows no TF32 anywhere, ``tf32`` allows it in matrix products and convolutions of a GPU (elsewhere it is
    float32), ``bf16`` is autocast to bfloat16.
    """
    loose = precision is Precision.TF32
    matmul, conv = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = loose
    try:
        with torch.autocast(device_type, torch.bfloat16, enabled=precision is Precision.BF16):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, conv
