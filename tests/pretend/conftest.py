"""The pretended device for a test; nothing of it is seen by other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.engine import flops

pytest.importorskip("torch.utils.backend_registration", reason="PyTorch without backends in Python")

from tests.pretend.device import BACKEND, LEDGER, NAME, AnyGenerator


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the device, with its counts at zero."""
    monkeypatch.setattr(torch, "Generator", AnyGenerator)
    monkeypatch.setattr(flops, "_SIDE_ELSEWHERE", 256)  # the peak of a CPU is not worth seconds
    LEDGER.clear()
    BACKEND.clear()
    BACKEND.used = True
    yield NAME
    BACKEND.clear()
