"""Intervals for an accuracy: n images of a population, each robust or not."""

from __future__ import annotations

from functools import cache

from scipy.stats import binomtest

CONFIDENCE = 0.95  # of every interval unless stated otherwise


@cache
def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Source: Wilson, Journal of the American Statistical Association 22, 1927.
    """
    ci = binomtest(successes, n).proportion_ci(confidence, "wilson")
    return float(ci.low), float(ci.high)


@cache  # milliseconds each, and a table asks for the same few again and again
def exact(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's interval: each limit fails with at most half of 1 - confidence, whatever the proportion.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    ci = binomtest(successes, n).proportion_ci(confidence, "exact")
    return float(ci.low), float(ci.high)


def interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Confidence interval of a proportion: Wilson's score interval, or Clopper-Pearson's if all or none succeed.

    Source: Brown, Cai and DasGupta, Statistical Science 16(2), 2001.
    """
    method = exact if successes in (0, n) else wilson
    return method(successes, n, confidence)


def half_width(limits: tuple[float, float]) -> float:
    """Half of an interval's width: the figure behind a plus-minus sign."""
    low, high = limits
    return (high - low) / 2
