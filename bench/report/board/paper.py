"""Standings of the paper's protocol: one per adversary, never ranked with strict ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bench.checks.suites import Scope, missing_of_paper
from bench.report.board.choices import devices_of, lacks_of
from bench.report.board.facts import Fact
from bench.report.board.line import Figures, line
from bench.report.board.model import Standing
from bench.report.board.strict import scope_of


def paper_standings(facts: Sequence[Fact], broken: str | None) -> list[Standing]:
    """One standing per adversary.

    Args:
        facts: Paper runs of one campaign, with eps above 0.
        broken: The first tier that breaks the defense in the strict runs of the campaign.
    """
    groups: dict[tuple[Scope, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        scope = scope_of(fact)
        if scope is not None and (scope is not Scope.WHITE_BOX or fact.certain):
            groups[scope, fact.adversary].append(fact)
    return [_standing(scope, groups[scope, adversary], broken) for scope, adversary in sorted(groups)]


def _standing(scope: Scope, facts: Sequence[Fact], broken: str | None) -> Standing:
    """The mean over devices; of several runs against one device the lowest figure counts."""
    known = [fact for fact in facts if not fact.unknown] or list(facts)
    lacks = lacks_of(facts, _lack)
    devices = devices_of(known) if not lacks else {i: [fact] for i, fact in enumerate(_lowest(known))}
    chosen = [min(own, key=_figure) for own in devices.values()]
    left = [fact for fact in facts if fact not in known]
    aside = [fact for fact in facts if fact not in chosen and fact not in left]
    masks = [fact.robust for fact in chosen]
    return line(scope, "paper", chosen, Figures(masks, 1, masks, tuple(lacks)), broken, left=left, aside=aside)


def _lowest(facts: Sequence[Fact]) -> list[Fact]:
    """The run with the lowest figure of each deployment."""
    counted: dict[tuple[str, int], Fact] = {}
    for fact in sorted(facts, key=_figure):
        counted.setdefault((fact.target, fact.record.spec.seed), fact)
    return sorted(counted.values(), key=lambda fact: fact.run_id)


def _figure(fact: Fact) -> tuple[float, str]:
    return float(fact.robust.mean()), fact.run_id


def _lack(runs: list[Fact]) -> list[str]:
    known = [missing_of_paper(fact.ran) for fact in runs if not fact.unknown]
    return min(known, key=len) if known else ["no run without images of unknown result"]
