"""Table I of arXiv:2311.16577, measured next to reported, with the strict worst case that the paper lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.checks.tiers import TRANSFER, Faced, first_break, most_met, place, worst
from bench.report.accuracy import Accuracy, accuracy, clean, difference, robust, same_images
from bench.report.figures.table import draw_table
from bench.report.met import met
from bench.report.output import Output, Table
from bench.report.reported import reported
from bench.report.table1_notes import PAPER_PROFILE, notes_under
from bench.report.text import EMPTY, bound, percent, signed, with_interval
from bench.store.record import Record
from bench.store.suites import Cell

# Columns of the suite, as in the paper; the last is of models that are judged white-box.
_ATTACKS = {
    "linf_non_adaptive": "l∞ non-adaptive",
    "linf_adaptive": "l∞ adaptive",
    "l2_non_adaptive": "l2 non-adaptive",
    "l2_adaptive": "l2 adaptive",
    "linf_white_box": "l∞ white-box",
}
_HEADER = ("row", "clean", *_ATTACKS.values(), "strict worst case", "first broken by", "source clean", "images x keys")


@dataclass
class _Line:
    """One row of the table under construction."""

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


def table1(cells: Sequence[Cell], profile: str) -> Output:
    """The table from the cells of the suite; empty cells show only the reported figure.

    Args:
        cells: Cells of the suite, in its order.
        profile: Their profile; a difference to the paper is given only for the paper's own.
    """
    paper = {row["row"]: row for row in reported("table1")}
    names = dict.fromkeys(cell.row for cell in cells)
    lines = [_line(name, [c for c in cells if c.row == name], paper, profile) for name in names]
    body = tuple(_row(line) for line in lines)
    title = f"Table I of arXiv 2311.16577 on {profile}"
    table = Table(title, _HEADER, body, tuple(entry for line in lines for entry in line.data))
    ran = dict.fromkeys(cell.record.run_id for cell in cells if cell.record)
    return Output(
        table,
        {"": draw_table(table)} if ran else {},
        notes_under(cells, profile),
        tuple(ran),
        tuple(dict.fromkeys(cell.command for cell in cells if cell.record is None)),
    )


def _line(name: str, cells: list[Cell], paper: dict[str, dict[str, str]], profile: str) -> _Line:
    """A row of the suite; on the paper's own profile its name is the paper's."""
    own = profile == PAPER_PROFILE
    stands_for = cells[0].stands_for or (name if own else "")
    return _Line(name, cells, stands_for, paper.get(stands_for, {}), own)


def _row(line: _Line) -> tuple[str, ...]:
    devices = line.by_device()
    for own in devices.values():
        same_images(own)
    tables = [clean(own[0].rows) for _, own in sorted(devices.items())]
    natural = accuracy(tables) if tables else None
    _add(line, "clean", [own[0] for _, own in sorted(devices.items())], natural, line.paper.get("clean", ""), tier="")
    attacks = [_attack(line, name) for name in _ATTACKS]
    return (
        _name(line),
        _cell(line, natural, line.paper.get("clean", ""), upper=False),
        *attacks,
        _worst(line, devices),
        _broken(devices),
        _sources(line),
        _sizes(line),
    )


def _attack(line: _Line, column: str) -> str:
    cells = line.column(column)
    found = accuracy([robust(cell.rows) for cell in cells]) if cells else None
    said = _reported(line, column)
    if not cells and not (said and line.comparable):
        return EMPTY
    tier = cells[0].record.tier if cells and cells[0].record else ""
    _add(line, column, cells, found, said, tier=tier)
    white = tier == "T5" or (not cells and line.paper.get("threat_note", "").startswith("white-box"))
    return _cell(line, found, said, upper=True) + (" †" if white and (found or said) else "")


def _reported(line: _Line, column: str) -> str:
    """The paper's figure; its white-box rows are in the column of that name."""
    white_row = any(cell.column == "linf_white_box" for cell in line.cells)
    if white_row:
        return line.paper.get("linf_non_adaptive", "") if column == "linf_white_box" else ""
    return line.paper.get(column, "")


def _cell(line: _Line, found: Accuracy | None, said: str, *, upper: bool) -> str:
    """Measured, reported and difference, one line each."""
    parts = [with_interval(found.mean, found.interval, upper=upper)] if found else [EMPTY]
    if said and line.comparable:
        parts.append(f"paper {said}")
    if found and said and line.comparable:
        low, high = difference(found, float(said) / 100, int(line.paper["n_images"]))
        gap = found.mean - float(said) / 100
        parts.append(f"{signed(gap)} [{signed(low)}, {signed(high)}]")
    return "\n".join(parts)


def _faced(devices: dict[int, list[Cell]]) -> dict[int, Faced]:
    """The strict runs against each device that has one."""
    out = {}
    for device, cells in sorted(devices.items()):
        runs = [met(cell.run) for cell in cells if cell.run and _strict(cell.run.record)]
        if runs:
            out[device] = Faced(clean(cells[0].rows), runs)
    return out


def _worst(line: _Line, devices: dict[int, list[Cell]]) -> str:
    """The strict worst case over the transfer tiers, or over all if none of them applies."""
    faced = {device: faced.runs for device, faced in _faced(devices).items()}
    transfer = {device: own for device, runs in faced.items() if (own := [r for r in runs if r.tier in TRANSFER])}
    counted = transfer or faced
    if not counted:
        return EMPTY
    left = {device: worst(run.robust for run in runs) for device, runs in counted.items()}
    best = most_met(
        [{r.adversary for r in runs} for runs in counted.values()], [float(m.mean()) for m in left.values()]
    )
    chosen = [list(counted)[at] for at in best]
    result = accuracy([left[device] for device in chosen])
    reached = sorted({run.tier for device in chosen for run in counted[device]}, key=place)
    cells = [c for d in chosen for c in devices[d] if c.record and _strict(c.record) and c.record.tier in reached]
    _add(line, "strict_worst_case", cells, result, "", tier=" ".join(reached))
    return f"{with_interval(result.mean, result.interval, upper=True)}\n{', '.join(reached)}"


def _broken(devices: dict[int, list[Cell]]) -> str:
    """The first tier up to which too little remains, and how much."""
    faced = list(_faced(devices).values())
    broken = first_break(faced)
    if broken is None:
        reached = sorted({run.tier for one in faced for run in one.runs}, key=place)
        return f"none of\n{', '.join(reached)}" if reached else EMPTY
    return f"{broken.tier}\n<= {percent(broken.left)}"


def _sources(line: _Line) -> str:
    """Clean accuracy of the sources of transfer, smallest and largest."""
    shares = [
        c.record.metrics.source_clean_accuracy
        for c in line.cells
        if c.record and c.record.adversary.access == "gradients" and c.record.tier in TRANSFER
    ]
    if not shares:
        return EMPTY
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _sizes(line: _Line) -> str:
    sizes = dict.fromkeys(f"{cell.record.metrics.images:,}" for cell in line.cells if cell.record is not None)
    keys = len(line.by_device())
    if not sizes:
        return f"paper {int(line.paper['n_images']):,} x 1" if line.paper else EMPTY
    return f"{', '.join(sizes)} x {keys}"


def _name(line: _Line) -> str:
    if line.comparable:
        return line.name
    ran = next((cell.record for cell in line.cells if cell.record is not None), None)
    if ran is None:
        return line.name
    base = ran.spec.profile.base
    stands_for = f"\nstands for {line.stands_for}" if line.stands_for else ""
    made_from = "from timm's " if base.arguments else ""
    return f"{line.name}\n{made_from}{base.architecture}{stands_for}"


def _strict(record: Record) -> bool:
    return record.spec.protocol == "strict"


def _add(line: _Line, column: str, cells: Sequence[Cell], found: Accuracy | None, said: str, *, tier: str) -> None:
    """A line of the CSV file."""
    share = float(said) / 100 if said else None
    images = int(line.paper["n_images"]) if said else None
    gap = bound(found, share, images) if line.comparable else None
    records = [cell.record for cell in cells if cell.record]
    sources = [r.metrics.source_clean_accuracy for r in records if r.adversary.access == "gradients"]
    line.data.append(
        {
            "row": line.name,
            "stands_for": line.stands_for,
            "column": column,
            "protocol": records[0].spec.protocol.value if records and column != "clean" else "",
            "tiers": tier,
            "budget": str(records[0].spec.budget) if records and column != "clean" else "",
            "images": found.images if found else None,
            "keys": found.keys if found else None,
            "measured": found.mean if found else None,
            "low": found.interval[0] if found else None,
            "high": found.interval[1] if found else None,
            "worst_key": found.worst if found else None,
            "reported": share,
            "reported_images": images,
            "difference": gap[0] if gap else None,
            "difference_low": gap[1] if gap else None,
            "difference_high": gap[2] if gap else None,
            "source_clean_low": min(sources) if sources and column != "clean" else None,
            "source_clean_high": max(sources) if sources and column != "clean" else None,
            "runs": " ".join(r.run_id for r in records),
        }
    )
