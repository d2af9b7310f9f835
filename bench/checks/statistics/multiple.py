"""Many p-values in one table."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: rejecting those up to alpha errs anywhere with at most alpha.

    Holds whatever the dependence between the tests, such as runs on the same images.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 (it imports pandas)

    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]
