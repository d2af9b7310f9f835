"""Two runs on the same images: on how many images only one of them is robust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, norm

from bench.checks.statistics.proportion import CONFIDENCE, wilson
from bench.core.errors import InputError


@dataclass(frozen=True)
class PairedTable:
    """Counts of images by whether run A and run B are robust on them.

    Attributes:
        both: Robust in A and in B.
        only_a: Robust only in A: McNemar's b.
        only_b: Robust only in B: McNemar's c.
        neither: Robust in neither.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    def __post_init__(self) -> None:
        counts = (self.both, self.only_a, self.only_b, self.neither)
        if min(counts) < 0 or not sum(counts):
            raise InputError(f"a paired table of {counts}; expected counts of 0 or more, and at least one image")

    @classmethod
    def of(cls, a: Sequence[bool], b: Sequence[bool]) -> PairedTable:
        """The table of two verdicts on each image, in the same order."""
        pairs = [(bool(x), bool(y)) for x, y in zip(a, b, strict=True)]
        return cls(*(pairs.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def n(self) -> int:
        """Number of images."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def robust_a(self) -> float:
        """Robust accuracy of A, a fraction."""
        return (self.both + self.only_a) / self.n

    @property
    def robust_b(self) -> float:
        """Robust accuracy of B, a fraction."""
        return (self.both + self.only_b) / self.n

    @property
    def difference(self) -> float:
        """Robust accuracy of A minus that of B."""
        return (self.only_a - self.only_b) / self.n

    @property
    def discordance(self) -> float:
        """Share of images on which the runs disagree."""
        return (self.only_a + self.only_b) / self.n


def mcnemar(table: PairedTable) -> float:
    """Exact two-sided p-value for equal robust accuracies: discordant pairs follow a fair binomial distribution.

    Source: McNemar, Psychometrika 12, 1947; exact as in Fagerland, Lydersen and Laake, BMC Medical Research
    Methodology 13:91, 2013.
    """
    discordant = table.only_a + table.only_b
    return float(binomtest(table.only_a, discordant).pvalue) if discordant else 1.0


def newcombe(table: PairedTable, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Confidence interval of robust accuracy A minus B, on the same images.

    Square-and-add of the two Wilson intervals, with the correlation phi between the runs. A positive phi is reduced so
    that runs that agree everywhere do not get an interval of width 0.

    Source: Newcombe, Statistics in Medicine 17:2635, 1998, method 10.
    """
    n, a, b = table.n, table.both + table.only_a, table.both + table.only_b
    (low_a, high_a), (low_b, high_b) = wilson(a, n, confidence), wilson(b, n, confidence)
    down_a, up_a = table.robust_a - low_a, high_a - table.robust_a
    down_b, up_b = table.robust_b - low_b, high_b - table.robust_b
    phi = _correlation(table)
    down = math.sqrt(max(down_a**2 - 2 * phi * down_a * up_b + up_b**2, 0))
    up = math.sqrt(max(up_a**2 - 2 * phi * up_a * down_b + down_b**2, 0))
    return max(table.difference - down, -1.0), min(table.difference + up, 1.0)


def _correlation(table: PairedTable) -> float:
    """Phi of the table, with Newcombe's continuity correction if it is positive; 0 if a margin is empty."""
    n, a, b = table.n, table.both + table.only_a, table.both + table.only_b
    margins = a * (n - a) * b * (n - b)
    if not margins:
        return 0.0
    excess: float = table.both * table.neither - table.only_a * table.only_b
    if excess > 0:
        excess = max(excess - n / 2, 0)
    return excess / math.sqrt(margins)


def needed_images(difference: float, discordance: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Number of images that a two-sided McNemar test needs to detect a difference with probability ``power``.

    Asymptotic: the exact test needs up to 2 / difference more, some 5% if this returns thousands.

    Args:
        difference: Difference between the two robust accuracies, a fraction, of either sign.
        discordance: Share of images on which the two disagree; at least the difference.
        power: Probability that the test rejects.
        alpha: Level of the test.

    Raises:
        InputError: if no two runs can differ like this.

    Source: Connor, Biometrics 43:207, 1987.
    """
    d = abs(difference)
    if not 0 < d <= discordance <= 1:
        raise InputError(
            f"a difference of {difference:.4g} with a discordance of {discordance:.4g}; expected a difference other "
            "than 0 and a discordance between its size and 1"
        )
    z_alpha, z_power = float(norm.isf(alpha / 2)), float(norm.ppf(power))
    root = z_alpha * math.sqrt(discordance) + z_power * math.sqrt(discordance - d**2)
    return math.ceil((root / d) ** 2)
