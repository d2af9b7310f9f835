"""Accuracy against the attack's effort, from cells: the common part of iterations and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.accuracy import Accuracy, accuracy, robust, same_images
from bench.report.controls import control_notes
from bench.report.figures.curves import Panel, Series, budget_curve
from bench.report.figures.labels import budget_words
from bench.report.output import Output, Table
from bench.report.text import percent, with_interval
from bench.store.record import Record
from bench.store.suites import Cell

UPPER = "Robust accuracy is an upper bound: a stronger attack can only lower it. Intervals are 95%."


@dataclass(frozen=True)
class Spending:
    """The quantity on the x axis.

    Attributes:
        name: Name of the column in the data, e.g. ``iterations``.
        axis: Label of the figure's axis.
        title: Title of table and figure.
        amount: Value for a record; None if it has no such quantity.
        label: Label of a record's line.
        note: What a reader must know.
    """

    name: str
    axis: str
    title: str
    amount: Callable[[Record], int | None]
    label: Callable[[Record], str]
    note: str


@dataclass(frozen=True)
class _Point:
    row: str
    label: str
    amount: int
    records: tuple[Record, ...]
    found: Accuracy


def spent(cells: Sequence[Cell], spending: Spending) -> Output:
    """Table and figure; cells without a run are omitted, with their commands."""
    points = _points(cells, spending)
    records = [record for point in points for record in point.records]
    title = with_facts(spending.title, records)
    table = Table(
        title,
        ("row", "adversary", spending.name, "robust accuracy (%)", "source clean (%)", "images x keys"),
        tuple(_body(point) for point in points),
        tuple(_data(point, spending) for point in points),
    )
    labels = sorted({p.label: p.records[0].tier for p in points}.items(), key=lambda item: item[1])
    panels = [
        Panel(row, [_series([p for p in points if p.row == row], label) for label, _ in labels])
        for row in dict.fromkeys(cell.row for cell in cells)
    ]
    left = [f"{cell.row} {cell.column} has no {spending.name} and is omitted"
            for cell in cells if cell.record is not None and spending.amount(cell.record) is None]  # fmt: skip
    return Output(
        table,
        {"": budget_curve(panels, spending.axis, title=title)} if panels else {},
        (UPPER, spending.note, *control_notes(cells), *left, *against(records)),
        tuple(record.run_id for record in records),
        lacking(cells),
    )


def lacking(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Commands of the cells without a run."""
    return tuple(dict.fromkeys(cell.command for cell in cells if cell.record is None))


def against(records: Iterable[Record]) -> tuple[str, ...]:
    """Why some of the runs are not eligible for a leaderboard."""
    return tuple(f"run {r.run_id} is not eligible: {why.text}" for r in records for why in r.ineligible_because)


def with_facts(title: str, records: Sequence[Record]) -> str:
    """``title`` with profile, budget, protocol and number of images of its runs."""
    if not records:
        return title
    kinds: tuple[Iterable[str], ...] = (
        (r.spec.profile.name for r in records),
        (budget_words(r.spec.budget) for r in records),
        (f"protocol {r.spec.protocol}" for r in records),
        (f"n = {r.metrics.images}" for r in records),
    )
    return f"{title} ({', '.join(' or '.join(dict.fromkeys(kind)) for kind in kinds)})"


def _points(cells: Sequence[Cell], spending: Spending) -> list[_Point]:
    grouped: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in cells:
        amount = spending.amount(cell.record) if cell.record is not None else None
        if cell.record is not None and amount is not None:
            grouped.setdefault((cell.row, spending.label(cell.record), amount), []).append(cell)
    rows = list(dict.fromkeys(cell.row for cell in cells))
    tiers = {key[1]: cell.record.tier for key, (cell, *_) in grouped.items() if cell.record}
    labels = sorted(tiers, key=tiers.__getitem__)  # in order of increasing knowledge, T0 to T5
    ordered = sorted(grouped, key=lambda key: (rows.index(key[0]), labels.index(key[1]), key[2]))
    return [_point(*key, grouped[key]) for key in ordered]


def _point(row: str, label: str, amount: int, cells: Sequence[Cell]) -> _Point:
    by_device = {cell.device: cell for cell in cells}
    same_images(by_device.values())
    records = tuple(cell.record for cell in by_device.values() if cell.record is not None)
    if len(records) > 1:
        found = accuracy([robust(cell.rows) for cell in by_device.values()])
    else:
        m = records[0].metrics
        found = Accuracy(m.robust_accuracy, m.robust_accuracy_interval, m.robust_accuracy, 1, m.images)
    return _Point(row, label, amount, records, found)


def _series(points: Sequence[_Point], label: str) -> Series:
    return Series(label, [(p.amount, p.found.mean, *p.found.interval) for p in points if p.label == label])


def _source(point: _Point) -> float:
    return sum(r.metrics.source_clean_accuracy for r in point.records) / len(point.records)


def _body(point: _Point) -> tuple[str, ...]:
    said = with_interval(point.found.mean, point.found.interval, upper=True)
    count = f"{point.found.images} x {point.found.keys}"
    return point.row, point.label, f"{point.amount:,}", said, percent(_source(point)), count


def _data(point: _Point, spending: Spending) -> dict[str, Any]:
    record, (low, high) = point.records[0], point.found.interval
    return {
        "row": point.row,
        "defense": record.spec.defense.name,
        "threat": record.spec.threat.name,
        "tier": record.tier,
        "attack": record.spec.attack.name,
        "protocol": str(record.spec.protocol),
        "budget": str(record.spec.budget),
        spending.name: point.amount,
        "robust_accuracy": point.found.mean,
        "low": low,
        "high": high,
        "clean_accuracy": sum(r.metrics.clean_accuracy for r in point.records) / len(point.records),
        "source_clean_accuracy": _source(point),
        "images": point.found.images,
        "keys": point.found.keys,
        "runs": " ".join(r.run_id for r in point.records),
    }
