"""Accuracy with intervals against a number, in panels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.figures.style import GREY, TWO_COLUMNS, accuracy_axis, blank, headline, look

# Accuracy at one position: x, then the figure with its lower and upper limit, fractions in [0, 1].
XYInterval = tuple[float, float, float, float]
_BARS, _APART = "bars: 95% intervals", "; the lines are set slightly apart around every place"
# Inches in the legend: per character of a label, beside a label, and height of a row.
_LETTER, _SAMPLE, _ROW = 0.062, 0.55, 0.16


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: Label in the legend; the same label has the same style in every panel.
        points: (x, robust accuracy, lower and upper limit), accuracies as fractions in [0, 1].
    """

    label: str
    points: Sequence[XYInterval]


@dataclass(frozen=True)
class Panel:
    """One panel of a figure."""

    title: str
    series: Sequence[Series]


def panels_figure(
    panels: Sequence[Panel], xlabel: str, *, title: str, scale: float = 1, spread: bool = False
) -> Figure:
    """Panels with one accuracy axis, intervals as bars, and a common legend below; the caller does the layout.

    A panel without points says that nothing was measured.

    Args:
        panels: From left to right.
        xlabel: x label of every panel.
        title: Above all panels.
        scale: Factor for x values.
        spread: Draw the lines of a panel slightly beside each other, so that their bars can be told apart.
    """
    labels = list(dict.fromkeys(series.label for panel in panels for series in panel.series))
    columns = _columns(labels)
    figure = blank(TWO_COLUMNS, 2.85 + _ROW * (-(-len(labels) // columns)))
    headline(figure, title)
    plots = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
    shown: dict[str, Any] = {}
    for axes, panel in zip(plots, panels, strict=True):
        axes.set(title=panel.title, xlabel=xlabel)
        step = _step(panel, scale) if spread else 0.0
        for series in (s for s in panel.series if s.points):
            number = labels.index(series.label)
            aside = step * (number - (len(labels) - 1) / 2)
            shown.setdefault(series.label, _line(axes, series, number, scale, aside))
        if not any(series.points for series in panel.series):
            middle: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY}
            axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, **middle)
    accuracy_axis(plots[0])
    plots[0].set_ylabel("robust accuracy (%)")
    if shown:
        named = [label for label in labels if label in shown]
        figure.legend([shown[n] for n in named], named, loc="outside lower center", ncols=columns,
                      title=_BARS + (_APART if spread else ""), title_fontsize=6.5)  # fmt: skip
    return figure


def _columns(labels: Sequence[str]) -> int:
    """Columns of the legend: as many as its longest label allows, three at most."""
    longest = max((len(label) for label in labels), default=0)
    return max(1, min(3, len(labels), int(TWO_COLUMNS / (_SAMPLE + _LETTER * longest))))


def _step(panel: Panel, scale: float) -> float:
    """Distance between neighbouring lines: together they take 0.4 of the smallest between two places."""
    places = sorted({scale * point[0] for series in panel.series for point in series.points})
    gaps = [right - left for left, right in pairwise(places)]
    return 0.4 * min(gaps) / max(1, len(panel.series)) if gaps else 0.0


def _line(axes: Axes, series: Series, number: int, scale: float, aside: float) -> Any:
    points, seen = sorted(series.points), look(number)
    below = [max(0.0, 100 * (robust - low)) for _, robust, low, _ in points]
    above = [max(0.0, 100 * (high - robust)) for _, robust, _, high in points]
    return axes.errorbar(
        [scale * p[0] + aside for p in points],
        [100 * p[1] for p in points],
        [below, above],
        color=seen.color,
        marker=seen.marker,
        linestyle=seen.dashes,
        elinewidth=0.7,
        capsize=1.8,
        capthick=0.7,
        markeredgecolor="white",
        markeredgewidth=0.4,
    )
