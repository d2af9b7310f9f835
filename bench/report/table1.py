"""Table I of arXiv:2311.16577, measured next to reported, and beside it the strict figures that the paper lacks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from bench.report.accuracy import Accuracy, accuracy, clean, difference, paper_right, robust, same_images
from bench.report.figures.table import draw_tables
from bench.report.output import Output, Table
from bench.report.reported import reported
from bench.report.table1_lines import SuiteLine
from bench.report.table1_notes import PAPER_PROFILE, notes_under
from bench.report.table1_strict import STRICT_HEADER, strict_cells
from bench.report.text import EMPTY, percent, signed, with_interval
from bench.store.suites import Cell

# Columns of the suite, as in the paper.
_ATTACKS = {
    "linf_non_adaptive": "l∞ non-adaptive",
    "linf_adaptive": "l∞ adaptive",
    "l2_non_adaptive": "l2 non-adaptive",
    "l2_adaptive": "l2 adaptive",
}
_WHITE_BOX = "linf_white_box"  # of rows that are judged white-box; the paper has them under l-inf non-adaptive
_HEADER = ("row", "clean", *_ATTACKS.values(), "images x keys")


def table1(cells: Sequence[Cell], profile: str) -> Output:
    """The tables from the cells of the suite; empty cells show only the reported figure.

    Args:
        cells: Cells of the suite, in its order.
        profile: Their profile; a difference to the paper is given only for the paper's own.
    """
    paper = {row["row"]: row for row in reported("table1")}
    names = dict.fromkeys(cell.row for cell in cells)
    lines = [_line(name, [c for c in cells if c.row == name], paper, profile) for name in names]
    title = f"Table I of arXiv 2311.16577 on {profile}"
    as_paper = tuple(_row(line) for line in lines)
    strict = tuple((line.name, *strict_cells(line)) for line in lines)
    data = tuple(chain.from_iterable(line.data for line in lines))
    table = Table(f"{title}: protocol paper", _HEADER, as_paper, data)
    beside = Table(f"{title}: protocol strict, which the paper lacks", STRICT_HEADER, strict, ())
    ran = dict.fromkeys(cell.record.run_id for cell in cells if cell.record)
    return Output(
        table,
        {"": draw_tables([table, beside])} if ran else {},
        notes_under(cells, profile),
        tuple(ran),
        tuple(dict.fromkeys(cell.command for cell in cells if cell.record is None)),
        (beside,),
    )


def _line(name: str, cells: list[Cell], paper: dict[str, dict[str, str]], profile: str) -> SuiteLine:
    """A row of the suite; on the paper's own profile its name is the paper's."""
    own = profile == PAPER_PROFILE
    stands_for = cells[0].stands_for or (name if own else "")
    return SuiteLine(name, cells, stands_for, paper.get(stands_for, {}), own)


def _row(line: SuiteLine) -> tuple[str, ...]:
    devices = line.by_device()
    for own in devices.values():
        same_images(own)
    first = [own[0] for _, own in sorted(devices.items())]
    natural = accuracy([clean(cell.rows) for cell in first]) if first else None
    said = line.paper.get("clean", "")
    line.add("clean", first, natural, said=said)
    attacks = [_attack(line, name) for name in _ATTACKS]
    return _name(line), _cell(line, natural, natural, said, upper=False), *attacks, _sizes(line)


def _attack(line: SuiteLine, shown: str) -> str:
    """One attack column; a row that is judged white-box has its figure where the paper has it."""
    has = {cell.column for cell in line.cells}
    column = _WHITE_BOX if shown == "linf_non_adaptive" and _WHITE_BOX in has else shown
    cells, said = line.column(column), line.paper.get(shown, "")
    if not cells and not (said and line.comparable):
        return EMPTY
    found, counted = (accuracy([of(c.rows) for c in cells]) if cells else None for of in (robust, paper_right))
    tier = cells[0].record.tier if cells and cells[0].record else ""
    line.add(column, cells, found, tier=tier, said=said, counted=counted)
    white = tier == "T5" or (not cells and line.paper.get("threat_note", "").startswith("white-box"))
    return _cell(line, found, counted, said, upper=True) + (" †" if white else "")


def _cell(line: SuiteLine, found: Accuracy | None, counted: Accuracy | None, said: str, *, upper: bool) -> str:
    """Measured, in the paper's metric where that differs, reported, and difference, one line each."""
    parts = [with_interval(found.mean, found.interval, upper=upper)] if found else [EMPTY]
    if found and counted and percent(found.mean) != percent(counted.mean):
        parts.append(f"paper's metric {percent(counted.mean)}")
    if said and line.comparable:
        parts.append(f"paper {said}")
    if counted and said and line.comparable:
        low, high = difference(counted, float(said) / 100, int(line.paper["n_images"]))
        gap = counted.mean - float(said) / 100
        parts.append(f"{signed(gap)} [{signed(low)}, {signed(high)}]")
    return "\n".join(parts)


def _sizes(line: SuiteLine) -> str:
    sizes = dict.fromkeys(f"{cell.record.metrics.images:,}" for cell in line.cells if cell.record is not None)
    keys = len(line.by_device())
    if not sizes:
        return f"paper {int(line.paper['n_images']):,} x 1" if line.paper else EMPTY
    return f"{', '.join(sizes)} x {keys}"


def _name(line: SuiteLine) -> str:
    if line.comparable:
        return line.name
    ran = next((cell.record for cell in line.cells if cell.record is not None), None)
    if ran is None:
        return line.name
    base = ran.spec.profile.base
    made_from = "from timm's " if base.arguments else ""
    stands_for = f"\nstands for {line.stands_for}" if line.stands_for else ""
    return f"{line.name}\n{made_from}{base.architecture}{stands_for}"
