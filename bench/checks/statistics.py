"""Intervals for an accuracy."""

from __future__ import annotations

from typing import Literal

from scipy.stats import binomtest


def interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a proportion: Wilson's score interval, Clopper-Pearson's where all or none succeed.

    Source: Brown, Cai and DasGupta, Statistical Science 16(2), 2001.
    """
    method: Literal["exact", "wilson"] = "exact" if successes in (0, n) else "wilson"
    ci = binomtest(successes, n).proportion_ci(confidence, method)
    return float(ci.low), float(ci.high)
