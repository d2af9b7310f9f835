"""Accuracies over images and keys, from verdict rows; fractions in [0, 1] with 95% intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.checks.statistics import across_keys, interval
from bench.core.errors import CorruptArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.store.suites import Cell
    from bench.store.verdicts import Row

Interval = tuple[float, float]


@dataclass(frozen=True)
class Accuracy:
    """The share of images that count, mean over keys.

    Attributes:
        mean: Mean over keys and images.
        interval: Interval of the mean; Wilson for one key, over keys and images for several.
        worst: Figure of the worst key.
        keys: Number of keys.
        images: Number of images per key.
    """

    mean: float
    interval: Interval
    worst: float
    keys: int
    images: int


def robust(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which images survive the attack (n,)."""
    return np.array([row.robust for row in rows])


def paper_right(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which images are correct under attack, whatever the target says of them without: the paper's metric (n,)."""
    return np.array([row.paper_right for row in rows])


def quantized(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which images survive the attack after rounding to 8 bits; only where that was judged (n,)."""
    return np.array([row.quantized_robust for row in rows])


def clean(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Images that the target classifies correctly without attack (n,)."""
    return np.array([row.right for row in rows])


def accuracy(by_key: Sequence[NDArray[np.bool_]]) -> Accuracy:
    """The accuracy of one key or of several, on the same images.

    Args:
        by_key: For each key, the images that count (n,).
    """
    images = len(by_key[0])
    if len(by_key) == 1:
        right = int(by_key[0].sum())
        return Accuracy(right / images, interval(right, images), right / images, 1, images)
    found = across_keys([table.tolist() for table in by_key], seed=0)
    return Accuracy(found.mean, found.interval, found.minimum, len(by_key), images)


def reported_interval(share: float, images: int) -> Interval:
    """Interval of a published accuracy, from the number of images that its table states."""
    return interval(round(share * images), images)


def difference(measured: Accuracy, share: float, images: int) -> Interval:
    """Confidence interval of ``measured`` minus a published ``share`` of ``images``.

    Square-and-add of the two intervals, as for independent samples. A published figure of one key does not include the
    spread between keys, so the interval holds for that key only.

    Source: Zou and Donner, Statistics in Medicine 27:1693, 2008 (MOVER).
    """
    low, high = reported_interval(share, images)
    gap = measured.mean - share
    down = ((measured.mean - measured.interval[0]) ** 2 + (high - share) ** 2) ** 0.5
    up = ((measured.interval[1] - measured.mean) ** 2 + (share - low) ** 2) ** 0.5
    return max(gap - down, -1.0), min(gap + up, 1.0)


def same_images(cells: Iterable[Cell]) -> None:
    """Check that cells can be combined image by image.

    Raises:
        CorruptArtifactError: if two judged different images.
    """
    seen: dict[tuple[str, ...], str] = {}
    for cell in cells:
        if cell.record is not None:
            seen.setdefault(tuple(row.image_id for row in cell.rows), cell.record.run_id)
    if len(seen) > 1:
        first, second, *_ = seen.values()
        raise CorruptArtifactError(f"runs {first} and {second} judged different images; expected the same for all "
                                   "cells of a row")  # fmt: skip
