"""Compares a split with its published size: the number of images, in total and per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_NAMED = 5  # classes listed by name before the others are only counted


def census(
    labels: Sequence[int],
    classes: int,
    describe: Callable[[int], str],
    *,
    total: int | None = None,
    per_class: int | tuple[int, int] | None = None,
) -> list[str]:
    """The differences, one line each.

    Args:
        labels: Labels of all images, 0 to ``classes`` - 1.
        classes: Number of classes.
        describe: Describes a class.
        total: Number of images of the split; None if none is published.
        per_class: Number of images per class, or minimum and maximum; None for at least one.
    """
    lines = []
    if total is not None and len(labels) != total:
        lines.append(f"{_images(len(labels))}; expected {total:,}")
    low, high = per_class if isinstance(per_class, tuple) else (per_class or 1, per_class or len(labels))
    said = "some" if per_class is None else f"{low:,}" if low == high else f"{low:,} to {high:,}"
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)
    wrong = [label for label, count in enumerate(counts) if not low <= count <= high]
    lines += [f"class {describe(c)} has {_images(int(counts[c]))}; expected {said}" for c in wrong[:_NAMED]]
    if len(wrong) > _NAMED:
        lines.append(f"and {len(wrong) - _NAMED:,} more classes")
    return lines


def _images(count: int) -> str:
    return "no images" if count == 0 else f"{count:,} image{'s' if count > 1 else ''}"
