"""The control of a transfer table: what perturbations of the same size do that were not made for the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.checks.tiers import place
from bench.report.text import EMPTY, percent
from bench.store.record import Controls
from bench.store.suites import Cell


def control_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """One line for each row whose runs have controls, by tier and budget."""
    lines = []
    for row in dict.fromkeys(cell.row for cell in cells):
        records = [cell.record for cell in cells if cell.row == row and cell.record is not None]
        records.sort(key=lambda record: (place(record.tier), str(record.spec.budget)))
        lines += control_lines(row, [(f"{r.tier} {r.spec.budget}", r.metrics.controls) for r in records])
    return tuple(lines)


def control_lines(name: str, runs: Sequence[tuple[str, Controls | None]]) -> list[str]:
    """One line on some runs, each with the name of its group; none if no run has controls.

    A figure is over all images that the runs of its group moved.
    """
    groups: dict[str, list[Controls]] = {}
    for group, found in runs:
        if found is not None:
            groups.setdefault(group, []).append(found)
    if not groups:
        return []
    said = ", ".join(f"{group} {' / '.join(_pooled(found))}" for group, found in groups.items())
    return [f"Control, {name}: percent of the images correct without attack that stay so under another image's "
            f"perturbation / noise of the same size / their own: {said}."]  # fmt: skip


def _pooled(found: Sequence[Controls]) -> tuple[str, str, str]:
    return (
        _mean((control.other, control.images) for control in found if control.other is not None),
        _mean((control.noise, control.images) for control in found),
        _mean((control.own, control.images) for control in found),
    )


def _mean(weighted: Iterable[tuple[float, int]]) -> str:
    pairs = list(weighted)
    total = sum(images for _, images in pairs)
    return percent(sum(share * images for share, images in pairs) / total) if total else EMPTY
