"""scikit-learn's bundled handwritten digits: real data that needs no download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.errors import UnknownNameError
from bench.core.nouns import Batch
from bench.core.plugins import Plugin
from bench.core.seeds import permutation

_TEST = 500  # images held out; the other 1,297 train


class MemorySplit:
    """A split that fits in memory."""

    def __init__(self, ids: Sequence[str], images: Tensor, labels: Tensor) -> None:
        self.ids = tuple(ids)
        self._whole = Batch(self.ids, images, labels)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions``, float32 (B, 3, 32, 32) in [0, 1]."""
        return self._whole.take(positions)

    def digest(self) -> str:
        """SHA-256 over ids, labels and pixels."""
        whole = self._whole
        h = hashlib.sha256("\n".join(whole.ids).encode())
        h.update(whole.labels.numpy().tobytes())
        h.update(whole.images.numpy().tobytes())
        return h.hexdigest()


class Digits(Plugin):
    """scikit-learn's 1,797 real handwritten digits as 32 x 32 RGB, 1,297 to train and 500 to test."""

    def split(self, name: str) -> MemorySplit:
        """The split ``train`` or ``test``; ids name the position in scikit-learn's own order.

        Raises:
            UnknownNameError: there is no such split.
        """
        if name not in ("train", "test"):
            raise UnknownNameError(f"digits has no split {name!r}; expected train or test")
        images, labels = _load()
        order = permutation(b"keybench/v1/digits-split", len(labels))
        chosen = order[:_TEST] if name == "test" else order[_TEST:]
        return MemorySplit([f"digits-{i:04d}" for i in chosen], images[chosen], labels[chosen])


def _load() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 (a second to import)

    raw = load_digits()
    gray = torch.tensor(raw.images / 16.0, dtype=torch.float32)[:, None]
    images = F.interpolate(gray, size=32, mode="bilinear", align_corners=False).clamp(0, 1)
    return images.expand(-1, 3, -1, -1).contiguous(), torch.tensor(raw.target, dtype=torch.int64)
