"""The page of every run: its ladder and its curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from bench.checks.tiers import place, worst
from bench.core.canonical import digest
from bench.core.nouns import Protocol
from bench.core.rerun_command import command_of
from bench.report.board.facts import Fact, interval_of
from bench.report.board.model import Curve, Point, RungLine, RunPage
from bench.report.board.names import attack_title, run_title, threat_title

RungLines = tuple[RungLine, ...]


def run_pages(facts: Sequence[Fact]) -> tuple[RunPage, ...]:
    """One page per run, by run id."""
    strict: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.record.spec.protocol is Protocol.STRICT:
            strict[_deployment(fact)].append(fact)
    known = {key: [fact for fact in runs if not fact.unknown] for key, runs in strict.items()}
    ladders = {key: _ladder(runs) for key, runs in known.items()}
    curves = _Curves(facts)
    out = []
    for fact in facts:
        key = _deployment(fact)
        rungs, ladder = known.get(key, []), ladders.get(key, ())
        if fact.unknown and fact.record.spec.protocol is Protocol.STRICT:
            ladder = _ladder([*rungs, fact])
        out.append(_page(fact, ladder, curves.of([fact, *rungs])))
    return tuple(out)


def _page(fact: Fact, ladder: RungLines, curves: tuple[Curve, ...]) -> RunPage:
    spec = fact.record.spec
    return RunPage(
        evidence=fact.evidence,
        title=run_title(fact.record),
        tier=fact.tier_text,
        command=command_of(spec, fact.record.provenance.key_name, fact.record.changed.model_dump()),
        ladder=ladder,
        curves=curves,
    )


def _ladder(facts: Sequence[Fact]) -> RungLines:
    """Lowest tier first; a run with unknown rows is shown, but does not affect the worst case."""
    ordered = sorted(facts, key=lambda f: (place(f.tier), f.adversary_title, f.run_id))
    so_far = accumulate((fact.clean if fact.unknown else fact.robust for fact in ordered), lambda a, b: worst([a, b]))
    return tuple(_rung(fact, float(left.mean())) for fact, left in zip(ordered, so_far, strict=True))


def _rung(fact: Fact, worst_so_far: float) -> RungLine:
    return RungLine(
        run_id=fact.run_id,
        tier=fact.tier,
        threat=threat_title(fact.record),
        attack=attack_title(fact.record),
        robust=float(fact.robust.mean()),
        interval=interval_of(fact, int(fact.robust.sum())),
        source_clean=fact.record.metrics.source_clean_accuracy,
        worst_so_far=worst_so_far,
    )


def _deployment(fact: Fact) -> tuple[str, str]:
    """Same model, same images, same budget."""
    return fact.target, fact.campaign


class _Curves:
    """Runs that differ only in eps."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._keys = {fact.run_id: digest(_but_eps(fact)) for fact in facts}
        self._runs: dict[str, list[Fact]] = defaultdict(list)
        self._clean: dict[tuple[str, str, str, str], Fact] = {}
        for fact in facts:
            self._runs[self._keys[fact.run_id]].append(fact)
            if not fact.attacked:
                self._clean.setdefault(_judged(fact), fact)
        self._made: dict[str, Curve | None] = {}

    def of(self, facts: Sequence[Fact]) -> tuple[Curve, ...]:
        """Those of these runs, in their order, without duplicates."""
        found = [self._curve(key, fact) for key, fact in {self._keys[f.run_id]: f for f in facts}.items()]
        return tuple(curve for curve in found if curve is not None)

    def _curve(self, key: str, fact: Fact) -> Curve | None:
        if key not in self._made:
            points = {float(run.record.spec.budget.eps): run for run in self._runs[key]}
            if 0.0 not in points and _judged(fact) in self._clean:
                points[0.0] = self._clean[_judged(fact)]
            enough = len(points) > 1 and any(points)
            name = f"{fact.adversary_title} ({fact.record.spec.protocol})"
            self._made[key] = Curve(name, tuple(_point(eps, points[eps]) for eps in sorted(points))) if enough else None
        return self._made[key]


def _point(eps: float, fact: Fact) -> Point:
    """At eps 0 nothing is perturbed, so robust accuracy is the clean accuracy."""
    right = fact.robust if eps else fact.clean
    return Point(
        eps=eps,
        eps_text=str(fact.record.spec.budget.eps),
        robust=float(right.mean()),
        interval=interval_of(fact, int(right.sum())),
        images=len(right),
        run_id=fact.run_id,
    )


def _judged(fact: Fact) -> tuple[str, str, str, str]:
    """Same model, same images, same norm; a run that is only stated is never put together with others."""
    alone = fact.run_id if fact.stated else ""
    return fact.target, fact.record.digests.data, fact.record.spec.budget.norm, alone


def _but_eps(fact: Fact) -> list[Any]:
    spec = fact.record.spec
    return [spec.model_dump(mode="json", exclude={"budget"}), spec.budget.norm, *_judged(fact)]
