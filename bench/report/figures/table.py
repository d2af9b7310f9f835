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


@drawn
def draw_table(table: Table) -> Figure:
    """The table with its title; columns as wide as their longest line, rows as high as their tallest cell."""
    widths = [max(_longest(row[i]) for row in (table.header, *table.body)) * _CHARACTER + _GAP
              for i in range(len(table.header))]  # fmt: skip
    heights = [max(cell.count("\n") + 1 for cell in row) * _LINE + _ROOM for row in table.body]
    width, height = sum(widths) + 2 * _MARGIN, sum(heights) + 0.85
    figure = blank(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    lefts = [_MARGIN + before for before in accumulate(widths[:-1], initial=0.0)]
    axes.text(_MARGIN, height - 0.22, table.title, fontsize=9.5, weight="bold", va="center")
    y = height - 0.42
    _rule(axes, width, y, 1.2)
    _write(axes, lefts, widths, table.header, y - 0.16, bold=True)
    y -= 0.32
    _rule(axes, width, y, 0.7)
    for row, tall in zip(table.body, heights, strict=True):
        _write(axes, lefts, widths, row, y - tall / 2)
        y -= tall
        _rule(axes, width, y, 0.25)
    _rule(axes, width, y, 1.2)
    return figure


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
