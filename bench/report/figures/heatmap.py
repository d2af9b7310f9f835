"""Transfer matrix: robust accuracy of every device on images crafted on every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from bench.report.figures.style import ONE_COLUMN, TWO_COLUMNS, VERMILLION, blank, drawn, footnote, headline

Interval = tuple[float, float]
_COLOURS = "cividis"  # perceptually uniform, also for colour-blind readers and in grey
_SHORT = 6  # with more devices, the interval does not fit into a cell
_DASH = "\N{EN DASH}"
_EVEN = 0.179  # luminance on which black and white letters have the same contrast (WCAG 2.1)
_SAID = "Outlined: white-box, the images were made on the device that is judged. Below a figure its 95% interval."


@dataclass(frozen=True)
class Matrix:
    """The devices of one defense.

    Attributes:
        title: Title of the panel.
        labels: Names of the devices.
        cells: One row per source device, one column per judged device: robust accuracy, a fraction
            in [0, 1]; None if it was not measured.
        intervals: Intervals of the cells; None for none.
    """

    title: str
    labels: Sequence[str]
    cells: Sequence[Sequence[float | None]]
    intervals: Sequence[Sequence[Interval | None]] | None = None


@drawn
def cross_key(matrices: Sequence[Matrix], *, title: str) -> Figure:
    """Panels side by side, two per row, with one colour scale; every cell shows its figure."""
    columns = min(2, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = blank(ONE_COLUMN + 0.6 if columns == 1 else TWO_COLUMNS, 0.9 + 2.9 * rows)
    headline(figure, title)
    missing = any(value is None for matrix in matrices for row in matrix.cells for value in row)
    footnote(figure, _SAID + (" Grey: not measured." if missing else ""))
    plots = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, matrix in zip(plots, matrices, strict=False):
        shown = _panel(axes, matrix)
    for axes in plots[len(matrices) :]:
        axes.set_axis_off()
    bar = figure.colorbar(shown, ax=plots, shrink=0.8, pad=0.02)
    bar.set_label("robust accuracy (%)")
    return figure


def _panel(axes: Axes, matrix: Matrix) -> AxesImage:
    count = len(matrix.labels)
    values = np.array([[np.nan if v is None else 100 * v for v in row] for row in matrix.cells], dtype=float)
    colours = mpl.colormaps[_COLOURS].with_extremes(bad="#eeeeee")
    shown = axes.imshow(values, cmap=colours, vmin=0, vmax=100)
    axes.grid(visible=False)
    axes.set(title=matrix.title, xlabel="device judged", ylabel="device whose model makes the images")
    axes.set_xticks(range(count), matrix.labels, rotation=90 if max(map(len, matrix.labels)) > 3 else 0)
    axes.set_yticks(range(count), matrix.labels)
    axes.spines[:].set_visible(False)
    for i in range(count):
        for j in range(count):
            _cell(axes, matrix, i, j, mpl.colors.to_rgb(colours(float(values[i, j]) / 100)))
        axes.add_patch(Rectangle((i - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor=VERMILLION, linewidth=2))
    return shown


def _cell(axes: Axes, matrix: Matrix, i: int, j: int, colour: tuple[float, ...]) -> None:
    value, count = matrix.cells[i][j], len(matrix.labels)
    limits = matrix.intervals[i][j] if matrix.intervals and count <= _SHORT else None
    ink = "white" if _luminance(colour) < _EVEN and value is not None else "black"
    size = min(8.0, 60 / count)
    text = _DASH if value is None else f"{100 * value:.{int(count <= _SHORT)}f}"
    place: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    axes.text(j, i - (0.1 if limits else 0), text, fontsize=size, fontweight="bold", **place)
    if limits:
        axes.text(j, i + 0.22, f"{100 * limits[0]:.0f}{_DASH}{100 * limits[1]:.0f}", fontsize=0.7 * size, **place)


def _luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an sRGB colour in [0, 1], ignoring alpha.

    Source: WCAG 2.1, definition of relative luminance.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
