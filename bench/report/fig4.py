"""Fig. 4 of arXiv:2311.16577: accuracy of the keyed models against eps, for three adversaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report.accuracy import Accuracy, accuracy, paper_right, robust, same_images
from bench.report.board.names import adversary_title
from bench.report.controls import control_notes
from bench.report.figures.eps import Panel, Series, eps_curves
from bench.report.output import Output, Table
from bench.report.text import EMPTY, with_interval
from bench.store.suites import Cell

# In the order of the panels, by increasing knowledge.
_ADVERSARIES = ("non-adaptive", "adaptive", "white-box")
_HEADER = (
    "row", "stands for", "adversary", "eps", "worst case of k tries", "k", "this radius alone", "images x keys",
)  # fmt: skip
_NOTES = (
    "Percent of all images, with 95% intervals: Wilson for one key, over keys and images for several.",
    "Worst case of k tries: an image that was fooled at a smaller radius, by the same attack on the same source, "
    "counts as fooled at every larger one, because its image lies in the larger ball too; k is the number of radii "
    "above 0 up to this one. `this radius alone` is the single attack. The figure shows the worst case.",
    "Robust accuracy counts images that are correct without and with the attack. The paper's metric counts those that "
    "are correct under attack, whatever the clean prediction: `papers_metric` of the CSV file, for this radius alone.",
    "The paper's figure shows non-adaptive; adaptive and white-box are added for comparison.",
    "The values of the paper's figure are not in its text, so none are given.",
)


@dataclass(frozen=True)
class Radius:
    """One point: all keys of a row under one adversary at one radius.

    ``found`` is the worst case of the ``tries`` attacks up to it, ``alone`` the accuracy under its own attack,
    ``counted`` the same in the paper's metric.
    """

    row: str
    stands_for: str
    threat: str
    eps: Fraction
    found: Accuracy
    alone: Accuracy
    counted: Accuracy
    tries: int
    carried: int
    runs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Device:
    """One key at one radius: images robust against its own attack, and against the ``tries`` attacks up to it (n,).

    ``counted`` are the images that are correct under its own attack, whatever the clean prediction.
    """

    alone: NDArray[np.bool_]
    together: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    tries: int
    source: str
    run_id: str


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
    about = [f"protocol {name}" for name in dict.fromkeys(c.record.spec.protocol for c in ran if c.record)]
    about += [f"n = {size:,} images" for size in dict.fromkeys(p.found.images for p in points)]
    attacks = dict.fromkeys(
        f"{adversary_title(cell.record)}, protocol {cell.record.spec.protocol}" for cell in ran if cell.record
    )
    return Output(
        Table(title, _HEADER, body, tuple(_data(p) for p in points)),
        {"": eps_curves(_panels(points), title=", ".join([title, *about]))} if points else {},
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
    return p.row, p.stands_for or EMPTY, p.threat, _in_255(p.eps), together, str(p.tries), alone, size


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
    by_device = {device: _carried([c for c in cells if c.device == device]) for device in {c.device for c in cells}}
    for radius in sorted({eps for found in by_device.values() for eps in found}):
        here = [found[radius] for _, found in sorted(by_device.items()) if radius in found]
        yield Radius(
            row=row,
            stands_for=cells[0].stands_for,
            threat=threat,
            eps=radius,
            found=accuracy([one.together for one in here]),
            alone=accuracy([one.alone for one in here]),
            counted=accuracy([one.counted for one in here]),
            tries=max(one.tries for one in here),
            carried=sum(int((one.alone & ~one.together).sum()) for one in here),
            runs=tuple(one.run_id for one in here),
        )


def _carried(cells: Sequence[Cell]) -> dict[Fraction, _Device]:
    """The radii of one key. Images are carried from one to the next while source and norm are the same."""
    out: dict[Fraction, _Device] = {}
    before: _Device | None = None
    for cell in sorted((c for c in cells if c.record), key=_radius):
        record = cell.record
        if record is None:
            continue
        alone, tries, eps = robust(cell.rows), int(record.spec.budget.eps > 0), record.spec.budget.eps
        source, counted = record.digests.source, paper_right(cell.rows)
        together = alone
        if before is not None and before.source == source:
            together, tries = alone & before.together, tries + before.tries
        before = out[eps] = _Device(alone, together, counted, tries, source, record.run_id)
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
        panels.append(Panel(f"{threat} ({_keys(own)})", series))
    return panels


def _keys(points: Sequence[Radius]) -> str:
    keys = sorted({p.found.keys for p in points})
    return f"{' or '.join(map(str, keys))} {'key' if keys == [1] else 'keys'}"


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
        "tries": p.tries,
        "robust_alone": p.alone.mean,
        "papers_metric": p.counted.mean,
        "carried": p.carried,
        "runs": " ".join(p.runs),
    }
