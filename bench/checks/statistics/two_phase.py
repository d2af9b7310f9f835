"""Two-phase estimation: a cheap first part on all images, the rest on a growing random sample of its survivors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bench.checks.statistics.proportion import CONFIDENCE, exact, half_width
from bench.checks.statistics.sequence import ConfidenceSequence
from bench.core.errors import InputError

# p (1 - p) of the share of survivors that falls, for which the sequence is tuned: 3%.
_TYPICAL = 0.03
_WIDEST = 49.0  # points; of a sequence over survivors that are few, whose interval is narrow anyway


class Counts(NamedTuple):
    """The counts of a two-phase run.

    Attributes:
        images: N, the images on which the first part ran.
        survivors: Those that it left robust.
        sampled: Survivors on which the whole attack ran: a random sample of them without replacement.
        fell: Sampled survivors that the whole attack fooled.
    """

    images: int
    survivors: int
    sampled: int
    fell: int

    @property
    def estimate(self) -> float:
        """Estimated share of all N images that the whole attack leaves robust: unbiased for a fixed sample."""
        if not self.survivors:
            return 0.0
        return self.survivors / self.images * (1 - self.fell / self.sampled if self.sampled else 1.0)


@dataclass(frozen=True)
class TwoPhase:
    """Intervals for what the whole attack leaves of exactly N images, valid however often they are inspected.

    What the first part fooled stays fooled, so the robust images of the whole attack are survivors of the first part.
    Given the first part, they are a fixed part of a finite population, the survivors, of which the sample is drawn
    without replacement. The interval is that of :class:`ConfidenceSequence` over the survivors.

    Attributes:
        points: Half width to stop at, in percentage points of all N images.
        confidence: Probability that the figure lies in all the intervals together.

    Source: Neyman, Journal of the American Statistical Association 33, 1938 (double sampling); Cochran, Sampling
    Techniques, 1977, chapter 12; Waudby-Smith and Ramdas, NeurIPS 2020, arXiv:2006.04347 (without replacement).
    """

    points: float
    confidence: float = CONFIDENCE

    def interval(self, counts: Counts) -> tuple[float, float]:
        """Interval of the share of the N images that the whole attack leaves robust: what the full run would print.

        Raises:
            InputError: for counts that no run has.
        """
        images, survivors, sampled, fell = counts
        if not 0 <= fell <= sampled <= survivors <= images or images < 1:
            raise InputError(f"counts of {tuple(counts)}; expected images >= survivors >= sampled >= fell >= 0")
        if not survivors:
            return 0.0, 0.0
        points = min(self.points * images / survivors, _WIDEST)
        sequence = ConfidenceSequence(points, self.confidence, population=survivors, typical=_TYPICAL)
        low, high = sequence.interval(sampled - fell, sampled)
        return low * survivors / images, high * survivors / images

    def behind(self, counts: Counts) -> tuple[float, float]:
        """Interval of the robust accuracy on the population that the N images come from.

        Exact limits at the ends of :meth:`interval`, each at half the error: the two errors add up at most.
        """
        half = 1 - (1 - self.confidence) / 2
        low, high = (round(share * counts.images) for share in TwoPhase(self.points, half).interval(counts))
        return exact(low, counts.images, half)[0], exact(high, counts.images, half)[1]

    def done(self, counts: Counts) -> bool:
        """Whether the sample is large enough; with survivors it has at least one."""
        if counts.survivors and not counts.sampled:
            return False
        return half_width(self.interval(counts)) <= self.points / 100

    def sample(self, images: int, survivors: int, share: float) -> int:
        """Approximate number of survivors to sample until ``done``, if this share of them falls."""
        if not survivors:
            return 0
        low, high = 1, survivors
        while low < high:
            middle = (low + high) // 2
            if self.done(Counts(images, survivors, middle, round(share * middle))):
                high = middle
            else:
                low = middle + 1
        return high
