"""Splits that fit in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.nouns import Batch
from bench.core.profile import Augmentation
from bench.core.progress import Progress

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class MemorySplit:
    """Images stored as float32; nothing is resized."""

    layout = ""

    def __init__(self, ids: Sequence[str], images: Tensor, labels: Tensor) -> None:
        self.ids: Sequence[str] = tuple(ids)
        self.labels: Sequence[int] = tuple(labels.tolist())
        self._whole = Batch(tuple(ids), images, labels)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions``, float32 (B, C, H, W) in [0, 1]."""
        return self._whole.take(positions)

    def draw(self, positions: Sequence[int], seeds: Sequence[int], how: Augmentation) -> tuple[Tensor, Tensor]:
        """The unmodified images at ``positions``, with labels (B,) int64; augmentation happens on the device."""
        index = torch.as_tensor(list(positions), dtype=torch.int64)
        return self._whole.images[index], self._whole.labels[index]

    def digest(self, positions: Sequence[int] | None = None, progress: Progress | None = None) -> str:
        """SHA-256 over ids, labels and pixels of the images at ``positions``, or of all."""
        whole = self._whole if positions is None else self._whole.take(positions)
        h = hashlib.sha256("\n".join(whole.ids).encode())
        h.update(whole.labels.numpy().tobytes())
        h.update(whole.images.numpy().tobytes())
        return h.hexdigest()

    def problems(self) -> list[str]:
        """Always empty: the images come with the package that contains them."""
        return []


class ArraySource:
    """Raw pixels (N, H, W, 3) uint8, encoded as binary PPM, so that they are processed like files."""

    def __init__(self, pixels: Pixels, origin: str) -> None:
        self.files: tuple[Path, ...] = ()
        self._pixels, self._origin = np.ascontiguousarray(pixels), origin

    def encoded(self, place: int) -> bytes:
        """The image as PPM, which is lossless."""
        height, width = self._pixels.shape[1:3]
        pixels: bytes = self._pixels[place].tobytes()
        return b"P6 %d %d 255\n" % (width, height) + pixels

    def where(self, place: int) -> str:
        """The file and the image's number in it."""
        return f"{self._origin}: {place}"

    def part(self, place: int) -> None:
        """The pixels are in memory."""
