"""Exact small-sample tests, so that an honest model does not fail by chance."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, fisher_exact, mannwhitneyu
from torch import Tensor

from bench.checks.chance import LEVEL


def more_than(count: int, total: int, share: float) -> bool:
    """Whether ``count`` of ``total`` significantly exceeds ``share``: one-sided exact binomial test."""
    return total > 0 and float(binom.sf(count - 1, total, share)) < LEVEL


def better(good: int, of: int, other: int, of_other: int) -> bool:
    """Whether ``good / of`` exceeds ``other / of_other``: Fisher's exact test, one-sided."""
    table = np.array([[good, of - good], [other, of_other - other]])
    return float(fisher_exact(table, alternative="greater")[1]) < LEVEL


def rank(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Probability that a value of ``a`` exceeds one of ``b``, and the one-sided p-value of the Mann-Whitney test."""
    if not len(a) or not len(b):
        return 0.5, 1.0
    test = mannwhitneyu(a.cpu().double().numpy(), b.cpu().double().numpy(), alternative="greater")
    return float(test.statistic) / (len(a) * len(b)), float(test.pvalue)
