"""An evaluated Spec as its readers get it: the record and one row for each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.core.errors import CorruptArtifactError
from bench.core.nouns import Outcome
from bench.store.record import Record
from bench.store.verdicts import Row

_UNKNOWN = (Outcome.INVALID, Outcome.ERROR)


@dataclass(frozen=True)
class Run:
    """A record with its verdicts.

    Attributes:
        record: Its figures agree with ``rows``.
        rows: One for each image, in the order of the Spec.
        complete: The run was there already when it was asked for; nothing was attacked.
        folder: Where record and verdicts lie; None where they were never written.
    """

    record: Record
    rows: tuple[Row, ...]
    complete: bool = field(default=True, compare=False)
    folder: Path | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """The run id."""
        return self.record.run_id

    @cached_property
    def by_id(self) -> dict[str, Row]:
        """The rows by image id.

        Raises:
            CorruptArtifactError: an image is judged twice.
        """
        by_id = {row.image_id: row for row in self.rows}
        if len(by_id) < len(self.rows):
            raise CorruptArtifactError(f"run {self.id} has several verdicts on one image; expected one for each")
        return by_id

    @property
    def robust(self) -> dict[str, bool]:
        """By image id, whether the image survives the attack."""
        return {image_id: row.robust for image_id, row in self.by_id.items()}

    @property
    def unknown(self) -> int:
        """Images with verdict INVALID or ERROR; they count as not robust."""
        return sum(row.outcome in _UNKNOWN for row in self.rows)

    @property
    def clean_accuracy(self) -> float:
        """The share of images, in [0, 1], that the target classifies correctly before any attack."""
        return self.record.metrics.clean_accuracy

    @property
    def robust_accuracy(self) -> float:
        """The share of images, in [0, 1], with verdict ROBUST: an upper bound on robustness."""
        return self.record.metrics.robust_accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the robust accuracy, as the record has it."""
        return self.record.metrics.robust_accuracy_interval
