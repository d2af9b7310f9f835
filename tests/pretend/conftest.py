"""The pretended device for a test; nothing of it is seen by other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("torch.utils.backend_registration", reason="PyTorch without backends in Python")

from tests.pretend.device import BACKEND, LEDGER, NAME, AnyGenerator


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the device, with its counts at zero."""
    monkeypatch.setattr(torch, "Generator", AnyGenerator)
    LEDGER.clear()
    BACKEND.clear()
    yield NAME
    BACKEND.clear()
