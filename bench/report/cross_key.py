"""Fig. 1 of arXiv:2311.16577 as a matrix: every device of a maker attacks every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.budgets import UPPER, against, lacking, with_facts
from bench.report.controls import control_notes
from bench.report.figures.heatmap import Matrix
from bench.report.figures.heatmap import cross_key as heatmap
from bench.report.output import Output, Table
from bench.report.text import EMPTY, percent, with_interval
from bench.store.record import Record
from bench.store.suites import Cell

_DIAGONAL = (
    "On the diagonal the adversary has the judged device: white-box, the positive control. Device 0 has the key that "
    "the runs name."
)


@dataclass(frozen=True)
class _Grid:
    """One row of the suite: runs by (source device, judged device)."""

    row: str
    runs: dict[tuple[int, int], Record]

    @property
    def devices(self) -> range:
        return range(max(max(pair) for pair in self.runs) + 1)

    def mean(self) -> float | None:
        """Mean over the measured cells off the diagonal."""
        found = [r.metrics.robust_accuracy for (i, j), r in self.runs.items() if i != j]
        return sum(found) / len(found) if found else None


def cross_key(cells: Sequence[Cell]) -> Output:
    """One matrix per row of the suite; cells without a run are omitted, with their commands."""
    grids = [grid for row in dict.fromkeys(c.row for c in cells) if (grid := _grid(row, cells)).runs]
    records = [record for grid in grids for record in grid.runs.values()]
    title = with_facts("Images made on one device, judged on another", records)
    devices = range(max((len(grid.devices) for grid in grids), default=0))
    table = Table(
        title,
        ("row", "images made on device", *(f"judged on {j} (%)" for j in devices)),
        tuple(_line(grid, i, devices) for grid in grids for i in grid.devices),
        tuple(_data(grid.row, *pair, record) for grid in grids for pair, record in sorted(grid.runs.items())),
    )
    means = [f"{grid.row}: {percent(mean)}% remain robust on average off the diagonal"
             for grid in grids if (mean := grid.mean()) is not None]  # fmt: skip
    return Output(
        table,
        {"": heatmap([_matrix(grid) for grid in grids], title=title)} if grids else {},
        (UPPER, _DIAGONAL, *means, *control_notes(cells), *against(records)),
        tuple(record.run_id for record in records),
        lacking(cells),
    )


def _grid(row: str, cells: Sequence[Cell]) -> _Grid:
    runs: dict[tuple[int, int], Record] = {}
    for record in (cell.record for cell in cells if cell.row == row):
        if record is not None and (maker := _maker(record)) is not None:
            runs.setdefault((maker, record.spec.device), record)
    return _Grid(row, runs)


def _maker(record: Record) -> int | None:
    """The device whose model made the images; None for a run that is not part of a matrix."""
    threat, judged = record.spec.threat, record.spec.device
    if threat.name == "white-box":
        return judged
    return int(threat.options["compromised"]) if threat.name == "cross-key" else None


def _matrix(grid: _Grid) -> Matrix:
    cells = [[grid.runs.get((i, j)) for j in grid.devices] for i in grid.devices]
    return Matrix(
        grid.row,
        [str(i) for i in grid.devices],
        [[r.metrics.robust_accuracy if r else None for r in line] for line in cells],
        [[r.metrics.robust_accuracy_interval if r else None for r in line] for line in cells],
    )


def _line(grid: _Grid, i: int, devices: range) -> tuple[str, ...]:
    found = [grid.runs.get((i, j)) for j in devices]
    said = [
        with_interval(r.metrics.robust_accuracy, r.metrics.robust_accuracy_interval, upper=True) if r else EMPTY
        for r in found
    ]
    return grid.row, str(i), *said


def _data(row: str, maker: int, judged: int, record: Record) -> dict[str, Any]:
    metrics, (low, high) = record.metrics, record.metrics.robust_accuracy_interval
    return {
        "row": row,
        "defense": record.spec.defense.name,
        "made_on": maker,
        "judged_on": judged,
        "threat": record.spec.threat.name,
        "tier": record.tier,
        "attack": record.spec.attack.name,
        "protocol": str(record.spec.protocol),
        "budget": str(record.spec.budget),
        "robust_accuracy": metrics.robust_accuracy,
        "low": low,
        "high": high,
        "clean_accuracy": metrics.clean_accuracy,
        "source_clean_accuracy": metrics.source_clean_accuracy,
        "images": metrics.images,
        "runs": record.run_id,
    }
