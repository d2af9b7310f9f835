"""A table as an image, in the style of booktabs: for pages that cannot show the table itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.figures.style import blank, drawn
from bench.report.output import Table

# Inches: a line of text, an average character, gaps between columns and rows, margin.
_LINE, _CHARACTER, _GAP, _ROOM, _MARGIN = 0.145, 0.062, 0.2, 0.1, 0.15
_SIZE = 7.5  # points
_TITLE, _APART = 0.4, 0.3  # inches: height of a title, between two tables


@drawn
def draw_tables(tables: Sequence[Table]) -> Figure:
    """Tables below each other with their titles; columns as wide as their longest line, rows as their tallest cell."""
    sizes = [_sizes(table) for table in tables]
    width = max(sum(widths) for widths, _ in sizes) + 2 * _MARGIN
    height = sum(_TITLE + sum(heights) for _, heights in sizes) + _APART * (len(tables) - 1) + 2 * _MARGIN
    figure = blank(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    top = height - _MARGIN
    for table, (widths, heights) in zip(tables, sizes, strict=True):
        scale = (width - 2 * _MARGIN) / sum(widths)  # all tables have the same width
        top = _draw(axes, table, [w * scale for w in widths], heights, top) - _APART
    return figure


def _sizes(table: Table) -> tuple[list[float], list[float]]:
    """Widths of the columns and heights of the header and the rows, in inches."""
    rows = (table.header, *table.body)
    widths = [max(_longest(row[i]) for row in rows) * _CHARACTER + _GAP for i in range(len(table.header))]
    return widths, [max(cell.count("\n") + 1 for cell in row) * _LINE + _ROOM for row in rows]


def _draw(axes: Axes, table: Table, widths: Sequence[float], heights: Sequence[float], top: float) -> float:
    """Draw one table below ``top``; returns its lower end."""
    width, lefts = sum(widths) + 2 * _MARGIN, [_MARGIN + w for w in accumulate(widths[:-1], initial=0.0)]
    axes.text(_MARGIN, top - _TITLE / 2, table.title, fontsize=9.5, weight="bold", va="center")
    y = top - _TITLE
    _rule(axes, width, y, 1.2)
    for number, (row, tall) in enumerate(zip((table.header, *table.body), heights, strict=True)):
        _write(axes, lefts, widths, row, y - tall / 2, bold=number == 0)
        y -= tall
        _rule(axes, width, y, 0.25 if number else 0.7)
    _rule(axes, width, y, 1.2)
    return y


def _write(
    axes: Axes, lefts: Sequence[float], widths: Sequence[float], cells: Sequence[str], y: float, *, bold: bool = False
) -> None:
    for number, (left, wide, text) in enumerate(zip(lefts, widths, cells, strict=True)):
        at, align = (left + wide / 2, "center") if number else (left, "left")
        axes.text(at, y, text, fontsize=_SIZE, weight="bold" if bold else "normal", va="center", ha=align,
                  linespacing=1.2)  # fmt: skip


def _rule(axes: Axes, width: float, y: float, weight: float) -> None:
    axes.plot([_MARGIN / 2, width - _MARGIN / 2], [y, y], color="black", linewidth=weight, solid_capstyle="butt")


def _longest(cell: str) -> int:
    return max(len(line) for line in cell.split("\n"))
