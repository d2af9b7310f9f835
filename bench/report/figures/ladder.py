"""A defense against every adversary of a ladder, and the per-image worst case up to each tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.figures.labels import budget_words, named
from bench.report.figures.style import BLACK, BLUE, GREY, ORANGE, TWO_COLUMNS, VERMILLION, blank, drawn, headline
from bench.store.ladders import LadderRecord, Rung

_PAPER = "as the paper measured (protocol paper)"
_ROW, _AROUND = 0.185, 1.75  # inches: one rung; title, axis and legend together


@dataclass(frozen=True)
class Place:
    """Position of a rung, from the top."""

    y: int
    rung: Rung
    paper: bool


@drawn
def ladder_chart(record: LadderRecord) -> Figure:
    """Rungs in order of increasing knowledge, grouped by tier; the per-image worst case as a step line."""
    places = _places(record)
    figure = blank(TWO_COLUMNS, _AROUND + _ROW * len(places))
    found = f"first broken by {record.first_break}" if record.first_break else "broken by no tier"
    headline(figure, f"{named(record.defense)}: {found} ({record.profile}, {budget_words(record.budget)}, "
                     f"n = {record.images})")  # fmt: skip
    axes = figure.subplots()
    _frame(axes, places)
    _reference(axes, record)
    _steps(axes, record, places)
    _points(axes, [p for p in places if not p.paper and not p.rung.source_too_weak], BLUE, "o", "robust accuracy")
    weak = [p for p in places if not p.paper and p.rung.source_too_weak]
    _points(axes, weak, ORANGE, "X", "source too weak: says nothing for the defense")
    _points(axes, [p for p in places if p.paper], BLACK, "D", _PAPER, hollow=True)
    figure.legend(loc="outside lower center", ncols=2, title="bars: 95% intervals", title_fontsize=6.5)
    return figure


def _places(record: LadderRecord) -> list[Place]:
    tiers = list(dict.fromkeys([t.tier for t in record.tiers] + [r.tier for r in (*record.rungs, *record.paper)]))
    ordered = [
        (rung, paper)
        for tier in tiers
        for rung, paper in [(r, False) for r in record.rungs] + [(r, True) for r in record.paper]
        if rung.tier == tier
    ]
    return [Place(y, rung, paper) for y, (rung, paper) in enumerate(ordered)]


def _frame(axes: Axes, places: Sequence[Place]) -> None:
    """Names of the rungs, and tiers as bands with their names on the right."""
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy under attack (%)")
    axes.set_yticks([p.y for p in places], [f"{named(p.rung.threat)} · {p.rung.attack}" for p in places])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for number, (tier, (first, last)) in enumerate(_spans(places).items()):
        if number % 2 == 0:
            axes.axhspan(first - 0.5, last + 0.5, color="#f2f2f2", zorder=0, linewidth=0)
        axes.annotate(tier, (1.01, (first + last) / 2), xycoords=("axes fraction", "data"), va="center",
                      fontweight="bold", annotation_clip=False)  # fmt: skip


def _spans(places: Sequence[Place]) -> dict[str, tuple[int, int]]:
    tiers = dict.fromkeys(p.rung.tier for p in places)
    rows = {tier: [p.y for p in places if p.rung.tier == tier] for tier in tiers}
    return {tier: (min(ys), max(ys)) for tier, ys in rows.items()}


def _reference(axes: Axes, record: LadderRecord) -> None:
    clean, (low, high) = 100 * record.clean_accuracy, record.clean_interval
    axes.axvspan(100 * low, 100 * high, color=GREY, alpha=0.2, linewidth=0, zorder=1)
    axes.axvline(clean, color=GREY, linestyle="--", linewidth=1, label=f"clean accuracy {clean:.1f}%")
    axes.axvline(record.broken_below * clean, color=GREY, linestyle=":", linewidth=1,
                 label=f"broken below: {100 * record.broken_below:g}% of it")  # fmt: skip


def _steps(axes: Axes, record: LadderRecord, places: Sequence[Place]) -> None:
    """A step line through the tiers at the worst case up to each; the band is its interval."""
    spans, x, y = _spans(places), [], []
    for tier in (t for t in record.tiers if t.tier in spans):
        edges = [spans[tier.tier][0] - 0.5, spans[tier.tier][1] + 0.5]
        x += [100 * tier.up_to] * 2
        y += edges
        low, high = tier.interval
        axes.fill_betweenx(edges, 100 * low, 100 * high, color=VERMILLION, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=VERMILLION, linewidth=1.6, label="per-image worst case up to the tier", zorder=2.5)


def _points(axes: Axes, places: Sequence[Place], colour: str, marker: str, label: str, *, hollow: bool = False) -> None:
    if not places:
        return
    rungs = [p.rung for p in places]
    spread = [[max(0.0, 100 * (r.robust_accuracy - r.interval[0])) for r in rungs],
              [max(0.0, 100 * (r.interval[1] - r.robust_accuracy)) for r in rungs]]  # fmt: skip
    axes.errorbar([100 * r.robust_accuracy for r in rungs], [p.y for p in places], xerr=spread, color=colour,
                  marker=marker, linestyle="none", label=label, elinewidth=0.9, capsize=2, capthick=0.9, zorder=3,
                  markerfacecolor="white" if hollow else colour)  # fmt: skip
