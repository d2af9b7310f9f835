"""Standings of the paper's protocol: one per adversary, never ranked with strict ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bench.checks.suites import Scope
from bench.report.board.facts import Fact
from bench.report.board.line import line
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
    """The mean over deployments; for two runs of one deployment the lower figure counts."""
    counted: dict[tuple[str, int], Fact] = {}
    known = [fact for fact in facts if not fact.unknown]
    for fact in sorted(known or facts, key=lambda f: (float(f.robust.mean()), f.run_id)):
        counted.setdefault((fact.target, fact.record.spec.seed), fact)
    chosen = sorted(counted.values(), key=lambda fact: fact.run_id)
    left = [fact for fact in facts if fact.unknown] if known else []
    aside = [fact for fact in facts if fact not in chosen and fact not in left]
    return line(scope, "paper", chosen, [fact.robust for fact in chosen], broken, left=left, aside=aside)
