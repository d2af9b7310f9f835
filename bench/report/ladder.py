"""A ladder as a table of its rungs and a chart."""

from __future__ import annotations

from typing import Any

from bench.report.controls import control_lines
from bench.report.figures.labels import budget_words, named
from bench.report.figures.ladder import ladder_chart
from bench.report.output import Output, Table
from bench.report.text import EMPTY, percent, with_interval
from bench.store.ladders import LadderRecord, Rung, Tier

_HEADER = ("tier", "threat", "attack", "source clean (%)", "robust accuracy (%)", "worst so far (%)", "run")
_PAPER = "as the paper measured"
_NOTES = (
    "Robust accuracy is an upper bound. Worst so far: share of images that are robust against every rung down to this "
    "one. "
    "Intervals are 95%.",
    "Rungs marked 'as the paper measured' (protocol paper) are excluded from every worst case.",
)


def ladder(record: LadderRecord) -> Output:
    """The rungs with intervals, the paper's measurements, and the worst case up to each tier as text."""
    rungs = [(rung, False) for rung in record.rungs] + [(rung, True) for rung in record.paper]
    title = f"{named(record.defense)} against the ladder {record.ladder} ({record.profile}, " \
            f"{budget_words(record.budget)}, n = {record.images})"  # fmt: skip
    table = Table(
        title,
        _HEADER,
        tuple(_line(rung, paper=paper) for rung, paper in rungs),
        tuple(_data(record, rung, paper=paper) for rung, paper in rungs),
    )
    return Output(table, {"": ladder_chart(record)}, _notes(record), tuple(rung.run_id for rung, _ in rungs))


def _line(rung: Rung, *, paper: bool) -> tuple[str, ...]:
    marks = [text for text, on in ((_PAPER, paper), ("source too weak", rung.source_too_weak)) if on]
    said = with_interval(rung.robust_accuracy, rung.interval, upper=True)
    return (
        rung.tier,
        named(rung.threat),
        rung.attack,
        percent(rung.source_clean_accuracy),
        f"{said} ({', '.join(marks)})" if marks else said,
        EMPTY if rung.worst_so_far is None else f"<= {percent(rung.worst_so_far)}",
        rung.run_id,
    )


def _data(record: LadderRecord, rung: Rung, *, paper: bool) -> dict[str, Any]:
    low, high = rung.interval
    up_to = {tier.tier: tier for tier in record.tiers}.get(rung.tier)
    return {
        "ladder": record.ladder_id,
        "defense": record.defense.name,
        "budget": str(record.budget),
        "tier": rung.tier,
        "threat": named(rung.threat),
        "attack": rung.attack,
        "kind": _PAPER if paper else "rung",
        "robust_accuracy": rung.robust_accuracy,
        "low": low,
        "high": high,
        "worst_so_far": rung.worst_so_far,
        "worst_up_to_tier": up_to.up_to if up_to else None,
        "source_clean_accuracy": rung.source_clean_accuracy,
        "source_too_weak": rung.source_too_weak,
        "clean_accuracy": record.clean_accuracy,
        "images": record.images,
        "runs": rung.run_id,
    }


def _beside(tier: Tier) -> str:
    """The number of tries, and the best single attack."""
    if tier.best_single is None:
        return ""
    parts = [f"worst case of {tier.tries} tries an image; best single attack <= {percent(tier.best_single)}"]
    parts += [f"in 8 bits <= {percent(tier.quantized)}"] if tier.quantized is not None else []
    parts += [f"expected over drawn members <= {percent(tier.expected)}"] if tier.expected is not None else []
    return f" ({'; '.join(parts)})"


def _notes(record: LadderRecord) -> tuple[str, ...]:
    share = percent(record.broken_below)
    broken = f"First broken by {record.first_break}" if record.first_break else "Broken by no tier"
    worst = [f"Up to {t.tier}: {with_interval(t.up_to, t.interval, upper=True)}{_beside(t)}" for t in record.tiers]
    left = [f"Left out: {named(item.threat)} {item.attack}: {item.why}" for item in record.skipped]
    against = [
        f"run {r.run_id} is not eligible: {why.text}" for r in (*record.rungs, *record.paper) for why in r.against
    ]
    clean = with_interval(record.clean_accuracy, record.clean_interval, upper=False)
    return (
        *_NOTES,
        f"Clean accuracy {clean}. {broken} (less than {share}% of the clean accuracy left).",
        *worst,
        *control_lines(named(record.defense), [(rung.tier, rung.controls) for rung in record.rungs]),
        *left,
        *against,
    )
