"""Early stopping of a run: an interval that stays valid however often it is inspected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, gammaln

from bench.checks.statistics.proportion import CONFIDENCE, half_width
from bench.core.errors import InputError

_EDGE = 1e-12  # proportions closer to 0 or 1 than this are treated as 0 or 1
_TYPICAL = 0.16  # p (1 - p) of the accuracy for which the sequence is tuned, 80% or 20%
# The half width of a sequence is about 3 standard errors where it is tuned (1.96 for a fixed n).
_ERRORS = 3.0
# A mixture is tightest where its weight is n / (x + log(1 + x)), x = -2 log alpha (Howard et al. 2021, section 3.5).
# Half of that costs 3 to 10% more images at an accuracy of 50 to 80% and saves 15 to 20% at 2%, where runs are shorter.
_SHARE = 0.5


@dataclass(frozen=True)
class ConfidenceSequence:
    """A confidence sequence for a robust accuracy: with probability ``confidence`` all its intervals contain it.

    The images must come in a random order that does not depend on their verdicts. The interval after n images depends
    only on the counts, so it may be inspected at any time, and a resumed run gives the same interval.

    An accuracy p stays in the interval while a mixture of Bernoulli models around p, Beta(m p + 1/2, m (1 - p) + 1/2),
    explains the data less than 1 / (1 - confidence) times as well as p does. That ratio is a martingale under p,
    so Ville's inequality bounds the probability that it is ever larger. The weight m follows from ``precision``.

    Attributes:
        precision: The half width to stop at, in percentage points: 0.5 is half a point.
        confidence: Probability that the accuracy lies in all the intervals together.
        population: None for the accuracy over the population that the images are drawn from, as for Wilson's
            interval. N for the accuracy over exactly N images, of which those seen are a random sample; the interval
            after all N has width 0.
        typical: p (1 - p) of the accuracy p for which the sequence is tuned; it affects the width, never the validity.

    Source: Robbins, Annals of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of
    Statistics 49, 2021 (mixtures centred on the null); Waudby-Smith and Ramdas, NeurIPS 2020 (without replacement).
    """

    precision: float
    confidence: float = CONFIDENCE
    population: int | None = None
    typical: float = _TYPICAL

    def __post_init__(self) -> None:
        if not 0 < self.precision < 50:
            raise InputError(f"a precision of {self.precision:g} points; expected more than 0 and less than 50")
        if not 0 < self.confidence < 1:
            raise InputError(f"a confidence of {self.confidence:g}; expected a fraction between 0 and 1, such as 0.95")
        if self.population is not None and self.population < 1:
            raise InputError(f"a population of {self.population} images; expected 1 or more, or None")

    def interval(self, successes: int, n: int) -> tuple[float, float]:
        """The interval after ``n`` images of which ``successes`` are robust; (0, 1) before the first.

        Raises:
            InputError: if there are more successes than images, or more images than the population.
        """
        if not 0 <= successes <= n or (self.population is not None and n > self.population):
            there_are = "" if self.population is None else f" of {self.population}"
            raise InputError(f"{successes} robust of {n} images{there_are}; expected no more than there are")
        if n == 0:
            return 0.0, 1.0
        if self.population is not None:
            return self._finite(successes, n, self.population)
        return self._infinite(successes, n)

    def done(self, successes: int, n: int) -> bool:
        """Whether the run may stop here: the half width is at most ``precision`` points."""
        return half_width(self.interval(successes, n)) <= self.precision / 100

    def images(self, share: float) -> int:
        """Approximate number of images until ``done``, if this share of them is robust."""
        low, high = 1, self.population or 1
        while self.population is None and not self.done(round(share * high), high):
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            if self.done(round(share * middle), middle):
                high = middle
            else:
                low = middle + 1
        return high

    @cached_property
    def _threshold(self) -> float:
        """Log of the ratio at which an accuracy is rejected."""
        return -math.log1p(-self.confidence)

    @cached_property
    def _weight(self) -> float:
        n = self.typical * (_ERRORS / (self.precision / 100)) ** 2
        x = 2 * self._threshold
        return _SHARE * n / (x + math.log1p(x))

    def _infinite(self, successes: int, n: int) -> tuple[float, float]:
        failures, seen = n - successes, successes / n

        def excess(p: float) -> float:
            a, b = self._weight * p + 0.5, self._weight * (1 - p) + 0.5
            mixture = betaln(a + successes, b + failures) - betaln(a, b)
            likelihood = successes * math.log(p) + failures * math.log1p(-p)
            return float(mixture) - likelihood - self._threshold

        low, high = 0.0, 1.0
        if successes and excess(_EDGE) > 0:
            low = float(brentq(excess, _EDGE, min(seen, 1 - _EDGE)))
        if failures and excess(1 - _EDGE) > 0:
            high = float(brentq(excess, max(seen, _EDGE), 1 - _EDGE))
        return low, high

    def _finite(self, successes: int, n: int, size: int) -> tuple[float, float]:
        """The same over the robust images S of ``size``, for sampling without replacement."""
        failures = n - successes
        total = np.arange(successes, size - failures + 1)  # possible values of S
        share = total / size
        a, b = self._weight * share + 0.5, self._weight * (1 - share) + 0.5
        mixture = betaln(a + successes, b + failures) - betaln(a, b)
        likelihood = _falling(total, successes) + _falling(size - total, failures) - _falling(np.array(size), n)
        kept = total[mixture - likelihood < self._threshold]
        return float(kept[0]) / size, float(kept[-1]) / size


def _falling(x: np.ndarray, k: int) -> np.ndarray:
    """Log of x (x - 1) ... (x - k + 1)."""
    return np.asarray(gammaln(x + 1.0) - gammaln(x - k + 1.0))
