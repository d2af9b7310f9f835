"""Multiple testing: several p-values in one table."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order: rejecting those up to alpha has a family-wise error of at most alpha.

    Valid under any dependence between the tests, such as runs on the same images.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 (it imports pandas)

    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]
