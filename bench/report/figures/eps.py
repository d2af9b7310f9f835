"""Accuracy against the radius of the ball, one panel per adversary."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.figures.lines import Panel, Series, panels_figure
from bench.report.figures.style import drawn

__all__ = ["Panel", "Series", "eps_curves"]


@drawn
def eps_curves(panels: Sequence[Panel], *, title: str) -> Figure:
    """Panels side by side with one accuracy axis; x is eps on the [0, 1] pixel scale, shown in 1/255.

    The lines are drawn slightly beside each other around every eps, so that their intervals can be told apart.
    """
    figure = panels_figure(panels, "ε (units of 1/255)", title=title, scale=255, spread=True)
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 4, 8, 10]))  # 0, 4, 8, ...
    return figure
