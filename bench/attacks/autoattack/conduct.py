"""Settings for running a sequence of attacks."""

from __future__ import annotations

from dataclasses import dataclass

from bench.attacks.autoattack.keeper import Keep
from bench.core.nouns import Precision

# Steps between looks for fooled images on an accelerator: a look is free on a CPU, but makes an accelerator wait.
PERIOD_ELSEWHERE = 8


@dataclass(frozen=True)
class Conduct:
    """Settings for running a sequence; only ``keep`` and ``misclassified`` change an image's outcome in float32.

    Attributes:
        slots: Images at a time.
        keep: See :class:`bench.attacks.autoattack.scheduler.Scheduler`.
        precision: Precision of the search; verdicts are in float32.
        misclassified: Whether images that the source misclassifies are attacked too.
        period: Steps between checks for fooled images.
        threads: Parallel threads, each with its share of the slots.
        climbing: Whether smaller batch shapes may be used when few images are left.
        ahead: Whether points may be evaluated speculatively and discarded if an earlier one is kept. If not, an image
            is sent forward exactly once per query that it spends, and rows without an image repeat another row.
    """

    slots: int
    keep: Keep = "first"
    precision: Precision = Precision.FP32
    misclassified: bool = False
    period: int = 1
    threads: int = 1
    climbing: bool = True
    ahead: bool = True
