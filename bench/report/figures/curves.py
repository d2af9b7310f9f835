"""Accuracy against the attack's effort: iterations, or queries."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.report.figures.lines import Panel, Series, panels_figure
from bench.report.figures.style import drawn

__all__ = ["Panel", "Series", "budget_curve"]
_MOST_TICKS = 8  # labelled positions; if there are more, only decades


@drawn
def budget_curve(panels: Sequence[Panel], xlabel: str, *, title: str) -> Figure:
    """Panels side by side with one accuracy axis; a logarithmic x axis with plain numbers."""
    figure = panels_figure(panels, xlabel, title=title)
    places = sorted({point[0] for panel in panels for series in panel.series for point in series.points})
    for axes in figure.axes if places else []:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_locator(NullLocator())
        if len(places) <= _MOST_TICKS:
            axes.xaxis.set_major_locator(FixedLocator(places))
    return figure


def _plain(value: float, _: int | None = None) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
