"""An evaluated Spec for readers: the record and one row per image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.core.errors import CorruptArtifactError
from bench.core.nouns import Outcome
from bench.store.record import Record
from bench.store.verdicts import Row

_UNKNOWN = (Outcome.INVALID, Outcome.ERROR)


@dataclass(frozen=True, repr=False)
class Run:
    """A record with its verdicts.

    Attributes:
        record: Its figures agree with ``rows``.
        rows: One per image, in the order of the Spec.
        complete: Whether the run existed already, so that nothing was attacked.
        folder: Folder of record and verdicts; None if they were never written.
    """

    record: Record
    rows: tuple[Row, ...]
    complete: bool = field(default=True, compare=False)
    folder: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        spec, (low, high) = self.record.spec, self.interval
        return (
            f"Run {self.id}: {spec.defense.name} under {spec.threat.name}, {spec.attack.name}, {spec.budget}, "
            f"{len(self.rows)} images, clean {self.clean_accuracy:.1%}, robust <= {self.robust_accuracy:.1%} "
            f"(95% interval {low:.1%} to {high:.1%}){'' if self.record.eligible else ', not eligible'}"
        )

    @property
    def id(self) -> str:
        """The run id."""
        return self.record.run_id

    @cached_property
    def by_id(self) -> dict[str, Row]:
        """The rows by image id.

        Raises:
            CorruptArtifactError: if an image is judged twice.
        """
        by_id = {row.image_id: row for row in self.rows}
        if len(by_id) < len(self.rows):
            raise CorruptArtifactError(f"run {self.id} has several verdicts on one image; expected one for each")
        return by_id

    @property
    def robust(self) -> dict[str, bool]:
        """By image id, whether the image is robust."""
        return {image_id: row.robust for image_id, row in self.by_id.items()}

    @property
    def unknown(self) -> int:
        """Images with verdict INVALID or ERROR; they count as not robust."""
        return sum(row.outcome in _UNKNOWN for row in self.rows)

    @property
    def clean_accuracy(self) -> float:
        """The share of images, in [0, 1], that the target classifies correctly without attack."""
        return self.record.metrics.clean_accuracy

    @property
    def robust_accuracy(self) -> float:
        """The share of images, in [0, 1], with verdict ROBUST: an upper bound on robustness."""
        return self.record.metrics.robust_accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the robust accuracy, from the record."""
        return self.record.metrics.robust_accuracy_interval
