"""Several attacks on one model: the best single one, and the worst case of all tries an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.checks.tiers import best_single, worst, worst_expected
from bench.store.run import Run


@dataclass(frozen=True)
class Tries:
    """Figures of several runs against one model, shares of the images in [0, 1].

    Attributes:
        runs: Ids of the runs; their number is k.
        best_single: Robust accuracy under the one attack that is best for all images.
        worst: Share of images that no run fooled: an adversary that knows which of k attacks to use on each image.
        quantized: As ``worst``, on images of 8 bits; None if a run has none.
        expected: Mean over images of the lowest share of members that are correct; None if no member is drawn.
    """

    runs: tuple[str, ...]
    best_single: float
    worst: float
    quantized: float | None
    expected: float | None

    @property
    def sentence(self) -> str:
        """All figures."""
        k = len(self.runs)
        parts = [f"best single attack <= {100 * self.best_single:.1f}%"]
        parts.append(f"worst case of {k} tries an image <= {100 * self.worst:.1f}%")
        parts += [f"in 8 bits <= {100 * self.quantized:.1f}%"] if self.quantized is not None else []
        parts += [f"expected over drawn members <= {100 * self.expected:.1f}%"] if self.expected is not None else []
        return f"{', '.join(self.runs)} judge one model: {', '.join(parts)}."


def tries(runs: Sequence[Run]) -> tuple[Tries, ...]:
    """The figures of each model that several of the runs judge, on the same images."""
    by_target: dict[str, list[Run]] = {}
    for run in runs:
        by_target.setdefault(run.record.digests.target, []).append(run)
    return tuple(tries_of(found) for found in by_target.values() if len(found) > 1)


def tries_of(runs: Sequence[Run]) -> Tries:
    """The figures of at least one run, all against one model on the same images."""
    rows = [[run.by_id[row.image_id] for row in runs[0].rows] for run in runs]
    masks = [np.array([row.robust for row in of]) for of in rows]
    rounded = [run.record.metrics.quantized_accuracy is not None for run in runs]
    drawn = [run.record.metrics.expected_accuracy is not None for run in runs]
    in_8_bits = [np.array([row.quantized_robust for row in of]) for of in rows]
    shares = [np.array([row.share or 0.0 for row in of]) for of in rows]
    return Tries(
        runs=tuple(run.id for run in runs),
        best_single=float(best_single(masks).mean()),
        worst=float(worst(masks).mean()),
        quantized=float(worst(in_8_bits).mean()) if all(rounded) else None,
        expected=float(worst_expected(shares).mean()) if all(drawn) else None,
    )
