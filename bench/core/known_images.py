"""The lists of test images that are known here by their ids, so that nobody can choose images by their results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from bench.core.seeds import permutation
from bench.core.selection import ROBUSTBENCH

DIGITS = (500, 1_797)  # test images, and all images
ROBUSTBENCH_SHA256 = "6562d5d8a52bc0700cd0de218360423558aca40de64303ee526401b470a07095"  # of its ids, one per line


def digits_order() -> list[int]:
    """Positions of scikit-learn's digits, the test images first."""
    return permutation(b"keybench/v1/digits-split", DIGITS[1])


_ORDERS: Mapping[str, Callable[[], list[str]]] = {
    "digits": lambda: [f"digits-{i:04d}" for i in digits_order()[: DIGITS[0]]],
    "cifar10": lambda: [f"test-{i:05d}" for i in range(10_000)],
    "tiny-imagenet": lambda: sorted(f"val_{i}" for i in range(10_000)),
    "imagenet": lambda: [f"ILSVRC2012_val_{i + 1:08d}" for i in range(50_000)],
}


@cache
def order_of(dataset: str) -> tuple[str, ...] | None:
    """Ids of all test images of a published data set in their order; None for any other data set."""
    return tuple(_ORDERS[dataset]()) if dataset in _ORDERS else None


def selection_of(dataset: str, ids: Sequence[str]) -> str | None:
    """The name of a known list: all test images, the first so many, or RobustBench's; None for any other choice.

    Args:
        dataset: Name of the data set.
        ids: The ids of the images, in order; whatever list they claim to be.
    """
    whole, n = order_of(dataset), len(ids)
    if whole is not None and tuple(ids) == whole[:n]:
        return f"all {n:,} test images" if n == len(whole) else f"the first {n:,} test images"
    if dataset == "imagenet" and hashlib.sha256("\n".join(ids).encode()).hexdigest() == ROBUSTBENCH_SHA256:
        return ROBUSTBENCH
    return None
