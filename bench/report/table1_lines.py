"""One row of the suite of Table I: its cells by column and device, and the lines of the CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.report.accuracy import Accuracy
from bench.report.text import bound
from bench.store.suites import Cell


@dataclass
class SuiteLine:
    """One row of the suite, and what the tables found for it.

    Attributes:
        name: Its name.
        cells: Its cells.
        stands_for: The row of the published table that it reproduces or stands for; empty if there is none.
        paper: That row; empty if there is none.
        comparable: Whether the published figures are of the same data set.
        data: Lines of the CSV file.
    """

    name: str
    cells: list[Cell]
    stands_for: str
    paper: dict[str, str]
    comparable: bool
    data: list[dict[str, Any]] = field(default_factory=list)

    def column(self, name: str) -> list[Cell]:
        """Its completed cells, one per key."""
        return [cell for cell in self.cells if cell.column == name and cell.record is not None]

    def by_device(self) -> dict[int, list[Cell]]:
        """All completed cells, by judged device."""
        out: dict[int, list[Cell]] = {}
        for cell in self.cells:
            if cell.record is not None:
                out.setdefault(cell.device, []).append(cell)
        return out

    def add_share(self, column: str, cells: Sequence[Cell], by_key: Sequence[float], *, images: int) -> None:
        """Add a line for the mean over keys of shares of ``images`` or more images, without an interval."""
        self.add(column, cells, None)
        self.data[-1] |= {
            "images": images, "keys": len(by_key), "measured": sum(by_key) / len(by_key), "worst_key": min(by_key)
        }  # fmt: skip

    def add(
        self,
        column: str,
        cells: Sequence[Cell],
        found: Accuracy | None,
        *,
        tier: str = "",
        tries: int | None = None,
        said: str = "",
        counted: Accuracy | None = None,
    ) -> None:
        """Add a line of the CSV file.

        Args:
            column: Name of the figure.
            cells: The runs that it is computed from.
            found: The figure; None if there is none.
            tier: Tiers of the runs.
            tries: Number of runs against each device, for a figure of several.
            said: The published figure in percent, or an empty text.
            counted: The figure in the paper's own metric; None if it has none.
        """
        share, images = (float(said) / 100, int(self.paper["n_images"])) if said else (None, None)
        gap = bound(counted or found, share, images) if self.comparable else None
        records = [cell.record for cell in cells if cell.record]
        spec = records[0].spec if records and column != "clean" else None
        sources = (
            [r.metrics.source_clean_accuracy for r in records if r.adversary.access == "gradients"] if spec else []
        )
        self.data.append(
            {
                "row": self.name,
                "stands_for": self.stands_for,
                "column": column,
                "protocol": spec.protocol.value if spec else "",
                "tiers": tier,
                "tries": tries,
                "budget": str(spec.budget) if spec else "",
                "images": found.images if found else None,
                "keys": found.keys if found else None,
                "measured": found.mean if found else None,
                "low": found.interval[0] if found else None,
                "high": found.interval[1] if found else None,
                "worst_key": found.worst if found else None,
                "papers_metric": counted.mean if counted else None,
                "reported": share,
                "reported_images": images,
                "difference": gap[0] if gap else None,
                "difference_low": gap[1] if gap else None,
                "difference_high": gap[2] if gap else None,
                "source_clean_low": min(sources) if sources else None,
                "source_clean_high": max(sources) if sources else None,
                "runs": " ".join(r.run_id for r in records),
            }
        )
