"""The strict figures of Table I's rows: best single attack, worst case of k tries, controls, white-box."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.checks.tiers import TRANSFER, Faced, first_break, most_met, place, worst
from bench.report.accuracy import Accuracy, accuracy, clean, quantized, robust
from bench.report.board.names import adversary_title
from bench.report.met import adversary_of, met
from bench.report.table1_lines import SuiteLine
from bench.report.text import EMPTY, percent, with_interval
from bench.store.record import Record
from bench.store.suites import Cell
from bench.store.verdicts import Row

STRICT_HEADER = (
    "row", "best single attack", "worst case of k tries", "the same in 8 bits",
    "under another image's\nperturbation, noise, their own", "queries (T2)", "white-box (T5)", "first broken by",
    "source clean",
)  # fmt: skip
_ByDevice = dict[int, list[Cell]]
_Counts = Callable[[Sequence[Row]], NDArray[np.bool_]]


def strict_cells(line: SuiteLine) -> tuple[str, ...]:
    """The row's cells under ``STRICT_HEADER``, but for its name; the figures are added to its lines of the CSV file."""
    devices = {device: own for device, cells in sorted(line.by_device().items()) if (own := _strict(cells))}
    counted = _alike(_of_tiers(devices, TRANSFER) or devices)
    best = _best(counted)
    return (
        _best_single(line, best),
        _worst(line, counted, "strict_worst_case", robust),
        _worst(line, counted, "strict_worst_case_8_bits", quantized) if _rounded(counted) else EMPTY,
        _controls(line, best),
        _alone(line, _alike(_of_tiers(devices, ("T2",))), "strict_queries"),
        _alone(line, _alike(_of_tiers(devices, ("T5",))), "strict_white_box"),
        _broken(line, devices),
        _sources(line),
    )


def _strict(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.record and cell.record.spec.protocol == "strict"]


def _of_tiers(devices: _ByDevice, tiers: Sequence[str]) -> _ByDevice:
    found = {device: [c for c in own if c.record and c.record.tier in tiers] for device, own in devices.items()}
    return {device: own for device, own in found.items() if own}


def _alike(devices: _ByDevice) -> _ByDevice:
    """The devices that may be averaged: those with the same adversaries, and the most."""
    adversaries = [{adversary_of(record) for record in _records(own)} for own in devices.values()]
    left = [float(worst(robust(cell.rows) for cell in own).mean()) for own in devices.values()]
    return {device: devices[device] for at in most_met(adversaries, left) for device in [list(devices)[at]]}


def _best(devices: _ByDevice) -> list[Cell]:
    """The runs of the one adversary that leaves least, one per device; none if there are none."""
    by_adversary: dict[str, list[Cell]] = {}
    for cell in (cell for own in devices.values() for cell in own):
        if cell.record is not None:
            by_adversary.setdefault(adversary_of(cell.record), []).append(cell)
    return min(by_adversary.values(), key=lambda own: np.mean([robust(c.rows).mean() for c in own]), default=[])


def _best_single(line: SuiteLine, best: list[Cell]) -> str:
    if not best:
        return EMPTY
    (record, *_), found = _records(best), accuracy([robust(cell.rows) for cell in best])
    line.add("strict_best_single", best, found, tier=record.tier, tries=1)
    return f"{_shown(found)}\n{record.tier}, {adversary_title(record)}"


def _worst(line: SuiteLine, devices: _ByDevice, column: str, of: _Counts) -> str:
    """The images that stand in every run against their device."""
    if not devices:
        return EMPTY
    cells = [cell for own in devices.values() for cell in own]
    tiers = sorted({record.tier for record in _records(cells)}, key=place)
    tries = len({adversary_of(record) for record in _records(cells)})
    found = accuracy([worst(of(cell.rows) for cell in own) for own in devices.values()])
    line.add(column, cells, found, tier=" ".join(tiers), tries=tries)
    return f"{_shown(found)}\nk = {tries}: {', '.join(tiers)}"


def _rounded(devices: _ByDevice) -> bool:
    records = _records([cell for own in devices.values() for cell in own])
    return bool(records) and all(record.metrics.quantized_accuracy is not None for record in records)


def _alone(line: SuiteLine, devices: _ByDevice, column: str) -> str:
    """The figure of one tier's runs, mostly one for each device."""
    if not devices:
        return EMPTY
    return _worst(line, devices, column, robust).split("\n", maxsplit=1)[0]


def _controls(line: SuiteLine, best: list[Cell]) -> str:
    """Means over keys of the shares that stay right under the control of the best single attack's runs."""
    held = [record.metrics.controls for record in _records(best)]
    controls = [control for control in held if control is not None and control.other is not None]
    if not controls or len(controls) < len(held):
        return EMPTY
    shares = {name: [float(getattr(c, name)) for c in controls] for name in ("other", "noise", "own")}
    for name, of_key in shares.items():
        line.add_share(f"control_{name}", best, of_key, images=min(c.images for c in controls))
    return ", ".join(percent(sum(of_key) / len(of_key)) for of_key in shares.values())


def _broken(line: SuiteLine, devices: _ByDevice) -> str:
    """The first tier up to which too little remains, and how much."""
    runs = {device: [cell.run for cell in own if cell.run] for device, own in devices.items()}
    faced = [Faced(clean(found[0].rows), [met(run) for run in found]) for found in runs.values()]
    broken = first_break(faced)
    if broken is None:
        reached = sorted({run.tier for one in faced for run in one.runs}, key=place)
        return f"none of\n{', '.join(reached)}" if reached else EMPTY
    return f"{broken.tier}\n<= {percent(broken.left)}"


def _sources(line: SuiteLine) -> str:
    """Clean accuracy of the sources of transfer, smallest and largest."""
    transfer = [r for r in _records(line.cells) if r.adversary.access == "gradients" and r.tier in TRANSFER]
    shares = [record.metrics.source_clean_accuracy for record in transfer]
    if not shares:
        return EMPTY
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _records(cells: Sequence[Cell]) -> list[Record]:
    return [cell.record for cell in cells if cell.record is not None]


def _shown(found: Accuracy) -> str:
    return with_interval(found.mean, found.interval, upper=True)
