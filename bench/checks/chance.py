"""The exact test that keeps honest models from failing by chance, in plain Python: records are read without SciPy."""

from __future__ import annotations

from math import exp, lgamma, log

# A finding FAILs if an honest model would show it in fewer than one audit of this many checks.
LEVEL = 0.005


def one_sided(more: int, less: int) -> bool:
    """Whether ``more`` exceeds ``less`` among discordant pairs: exact McNemar test, one-sided."""
    return more > less and _at_most(less, more + less) < LEVEL


def _at_most(count: int, of: int) -> float:
    """Probability of at most ``count`` heads in ``of`` throws of a fair coin, ``count`` below half of them.

    The terms decrease at least geometrically, so the sum ends once they no longer change it.
    """
    term = total = exp(lgamma(of + 1) - lgamma(count + 1) - lgamma(of - count + 1) - of * log(2))
    for heads in range(count, 0, -1):
        term *= heads / (of - heads + 1)
        if total + term == total:
            break
        total += term
    return total
