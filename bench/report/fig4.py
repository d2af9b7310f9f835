"""Fig. 4 of arXiv:2311.16577: accuracy of the keyed models against eps, for three adversaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report.accuracy import Accuracy, accuracy, robust, same_images
from bench.report.board.names import adversary_title
from bench.report.controls import control_notes
from bench.report.figures.eps import Panel, Series, eps_curves
from bench.report.output import Output, Table
from bench.report.text import EMPTY, with_interval
from bench.store.suites import Cell

# In the order of the panels, by increasing knowledge.
_ADVERSARIES = ("non-adaptive", "adaptive", "white-box")
_HEADER = ("row", "stands for", "adversary", "eps", "robust", "this radius alone", "images x keys")
_NOTES = (
    "Percent of all images, with 95% intervals: Wilson for one key, over keys and images for several.",
    "Carried forward: an image that was fooled at a smaller radius, by the same attack on the same source, counts as "
    "fooled at every larger one, because its image lies in the larger ball too. `this radius alone` excludes that.",
    "The paper's figure shows non-adaptive; adaptive and white-box are added for comparison.",
    "The values of the paper's figure are not in its text, so none are given.",
)


@dataclass(frozen=True)
class Radius:
    """One point: all keys of a row under one adversary at one radius."""

    row: str
    stands_for: str
    threat: str
    eps: Fraction
    found: Accuracy
    alone: Accuracy
    carried: int
    runs: tuple[str, ...]


def fig4(cells: Sequence[Cell], profile: str) -> Output:
    """Figure and table from the cells of the suite.

    Args:
        cells: Cells of the suite: rows under adversaries at radii.
        profile: Their profile.
    """
    ran = [cell for cell in cells if cell.record is not None]
    points = list(_points(ran))
    body = tuple(_cells(p) for p in points)
    title = f"Fig. 4 of arXiv 2311.16577 on {profile}: robust accuracy against eps, l∞"
    attacks = dict.fromkeys(
        f"{adversary_title(cell.record)}, protocol {cell.record.spec.protocol}" for cell in ran if cell.record
    )
    return Output(
        Table(title, _HEADER, body, tuple(_data(p) for p in points)),
        {"": eps_curves(_panels(points), title=title)} if points else {},
        (*_NOTES, *([f"Attacks: {'; '.join(attacks)}."] if attacks else []), *control_notes(_widest(ran))),
        tuple(dict.fromkeys(cell.record.run_id for cell in ran if cell.record)),
        tuple(dict.fromkeys(cell.command for cell in cells if cell.record is None)),
    )


def _widest(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with the largest radius: those of the control."""
    radii = [cell.record.spec.budget.eps for cell in cells if cell.record]
    return [cell for cell in cells if cell.record and cell.record.spec.budget.eps == max(radii)]


def _cells(p: Radius) -> tuple[str, ...]:
    together, alone = (with_interval(a.mean, a.interval, upper=p.eps > 0) for a in (p.found, p.alone))
    size = f"{p.found.images:,} x {p.found.keys}"
    return p.row, p.stands_for or EMPTY, p.threat, _in_255(p.eps), together, alone, size


def _points(cells: Sequence[Cell]) -> Iterable[Radius]:
    for row in dict.fromkeys(cell.row for cell in cells):
        for threat in _threats(cells):
            own = [c for c in cells if c.row == row and c.record and c.record.spec.threat.name == threat]
            same_images(own)
            yield from _sweep(row, threat, own)


def _threats(cells: Sequence[Cell]) -> list[str]:
    there = dict.fromkeys(cell.record.spec.threat.name for cell in cells if cell.record)
    return sorted(there, key=lambda name: (_ADVERSARIES.index(name) if name in _ADVERSARIES else 9, name))


def _sweep(row: str, threat: str, cells: Sequence[Cell]) -> Iterable[Radius]:
    """The radii of one row under one adversary, smallest first."""
    eps = {cell.record.run_id: cell.record.spec.budget.eps for cell in cells if cell.record}
    by_device = {device: _carried([c for c in cells if c.device == device]) for device in {c.device for c in cells}}
    for radius in sorted(set(eps.values())):
        here = [found[radius] for _, found in sorted(by_device.items()) if radius in found]
        alone, together = [one for one, _, _ in here], [both for _, both, _ in here]
        lost = sum(int((one & ~both).sum()) for one, both, _ in here)
        runs = tuple(run for _, _, run in here)
        yield Radius(row, cells[0].stands_for, threat, radius, accuracy(together), accuracy(alone), lost, runs)


def _carried(cells: Sequence[Cell]) -> dict[Fraction, tuple[NDArray[np.bool_], NDArray[np.bool_], str]]:
    """For each radius of one key: images robust against their own attack, against all up to it, and the run.

    Images are carried from one radius to the next while source and norm are the same.
    """
    out: dict[Fraction, tuple[NDArray[np.bool_], NDArray[np.bool_], str]] = {}
    before: tuple[NDArray[np.bool_], str] | None = None
    for cell in sorted((c for c in cells if c.record), key=_radius):
        record = cell.record
        if record is None:
            continue
        stands = robust(cell.rows)
        same = before is not None and before[1] == record.digests.source
        together = stands & before[0] if before is not None and same else stands
        before = (together, record.digests.source)
        out[record.spec.budget.eps] = stands, together, record.run_id
    return out


def _radius(cell: Cell) -> Fraction:
    return cell.record.spec.budget.eps if cell.record else Fraction(0)


def _panels(points: Sequence[Radius]) -> list[Panel]:
    panels = []
    for threat in dict.fromkeys(p.threat for p in points):
        own = [p for p in points if p.threat == threat]
        series = [
            Series(_label(row, own), [(float(p.eps), p.found.mean, *p.found.interval) for p in own if p.row == row])
            for row in dict.fromkeys(p.row for p in own)
        ]
        panels.append(Panel(threat, series))
    return panels


def _label(row: str, points: Sequence[Radius]) -> str:
    stands_for = next(p.stands_for for p in points if p.row == row)
    return f"{row} (for {stands_for})" if stands_for else row


def _in_255(eps: Fraction) -> str:
    return f"{float(eps * 255):g}/255" if eps else "0"


def _data(p: Radius) -> dict[str, Any]:
    return {
        "row": p.row,
        "stands_for": p.stands_for,
        "threat": p.threat,
        "eps": str(p.eps),
        "images": p.found.images,
        "keys": p.found.keys,
        "robust": p.found.mean,
        "low": p.found.interval[0],
        "high": p.found.interval[1],
        "worst_key": p.found.worst,
        "robust_alone": p.alone.mean,
        "carried": p.carried,
        "runs": " ".join(p.runs),
    }
