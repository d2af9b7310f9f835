"""A split against its published make-up: how many images, and how many of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_NAMED = 5  # classes named before the rest are only counted


def census(
    labels: Sequence[int],
    classes: int,
    describe: Callable[[int], str],
    *,
    total: int | None = None,
    per_class: int | tuple[int, int] | None = None,
) -> list[str]:
    """What differs, one line each.

    Args:
        labels: Of all images, 0 to ``classes`` - 1.
        classes: How many there are.
        describe: A class in words.
        total: Images of the split; None where none is published.
        per_class: Images of a class, or the least and the most; None for at least one.
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
