"""scikit-learn's bundled handwritten digits: real data without a download."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.known_images import DIGITS, digits_order
from bench.core.plugins import Dataset, Storage
from bench.data.readers.listing import check_split
from bench.data.readers.memory import MemorySplit


class Digits(Dataset):
    """scikit-learn's 1,797 real handwritten digits as 32 x 32 RGB, 1,297 for training and 500 for testing."""

    needs_root = False

    def split(self, name: str, storage: Storage | None = None) -> MemorySplit:
        """The split ``train`` or ``test``; ids give the position in scikit-learn's order.

        Raises:
            UnknownNameError: if there is no such split.
        """
        check_split("digits", name)
        images, labels = _load()
        order, held_out = digits_order(), DIGITS[0]
        chosen = order[:held_out] if name == "test" else order[held_out:]
        return MemorySplit([f"digits-{i:04d}" for i in chosen], images[chosen], labels[chosen])


def _load() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 (a second to import)

    raw = load_digits()
    gray = torch.tensor(raw.images / 16.0, dtype=torch.float32)[:, None]
    images = F.interpolate(gray, size=32, mode="bilinear", align_corners=False).clamp(0, 1)
    return images.expand(-1, 3, -1, -1).contiguous(), torch.tensor(raw.target, dtype=torch.int64)
