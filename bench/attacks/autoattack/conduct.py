"""How a sequence of attacks is run."""

from __future__ import annotations

from dataclasses import dataclass

from bench.attacks.autoattack.keeper import Keep
from bench.core.nouns import Precision


@dataclass(frozen=True)
class Conduct:
    """How a sequence is run; nothing here but ``keep`` and ``misclassified`` changes an image's outcome in float32.

    Attributes:
        slots: Images at a time.
        keep: See :class:`bench.attacks.autoattack.scheduler.Scheduler`.
        precision: Precision of the search; verdicts are in float32.
        misclassified: Whether images that the source misclassifies are attacked too.
        period: Steps between looks at who is fooled.
        threads: Threads side by side, each with its share of the slots.
        climbing: Whether smaller batch shapes may be used when few images are left.
        ahead: Whether points may be evaluated that are thrown away if an earlier one is kept; where not, an image is
            sent forward once for each query that it spends, and rows without an image repeat another row.
    """

    slots: int
    keep: Keep = "first"
    precision: Precision = Precision.FP32
    misclassified: bool = False
    period: int = 1
    threads: int = 1
    climbing: bool = True
    ahead: bool = True
