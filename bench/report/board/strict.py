"""Strict standings: for every scope, the per-image worst case over the tries of its suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.checks.suites import SUITES, Scope, missing, satisfied
from bench.checks.tiers import Faced, best_single, first_break, most_met, worst
from bench.core.tiers import TIERS
from bench.report.board.choices import devices_of, lacks_of
from bench.report.board.facts import Fact
from bench.report.board.line import Figures, line
from bench.report.board.model import Standing

if TYPE_CHECKING:
    from bench.checks.tiers import Mask

# Tiers that count in a scope, and those of which it needs at least one: without them it equals the scope before it.
_NEW = {
    Scope.TRANSFER: ("T0", "T1", "T1+"),
    Scope.SIBLING: ("T1s",),
    Scope.QUERIES: ("T2", "T3"),
    Scope.LEAKED: ("T4",),
    Scope.WHITE_BOX: ("T5",),
}
_ALL = {scope: TIERS[: TIERS.index(new[-1]) + 1] for scope, new in _NEW.items()} | {Scope.WHITE_BOX: ("T5",)}


@dataclass(frozen=True, eq=False)
class Deployment:
    """One deployed model and the runs of a scope against it.

    Attributes:
        counted: Runs with known rows; all of them if there is no such run.
        left: The others.
        adversaries: Adversaries of ``counted``.
        worst: Images that are robust in all of ``counted`` (n,).
    """

    counted: tuple[Fact, ...]
    left: tuple[Fact, ...]
    adversaries: frozenset[str]
    worst: Mask

    @property
    def known(self) -> bool:
        """Whether its figure is made of runs without unknown rows."""
        return not any(fact.unknown for fact in self.counted)


def scope_of(fact: Fact) -> Scope | None:
    """The first scope that includes a run's tier; None for a tier that is not on the ladder."""
    return next((scope for scope, new in _NEW.items() if fact.tier in new), None)


def strict_standings(facts: Sequence[Fact]) -> list[Standing]:
    """One standing per scope; for a defense without a key and with a white-box run, one over all its runs.

    Args:
        facts: Strict runs of one campaign, with eps above 0.
    """
    broken = broken_by(facts)
    if facts and facts[0].record.spec.key is None and any(fact.certain for fact in facts):
        # nothing is hidden from an adversary, so a figure against a weaker one would only overestimate the defense
        found = [_standing(Scope.WHITE_BOX, facts, broken, TIERS)]
    else:
        found = [_standing(scope, facts, broken, _ALL[scope]) for scope in Scope]
    return [standing for standing in found if standing is not None]


def broken_by(facts: Sequence[Fact]) -> str | None:
    """The first tier that breaks the defense; deployments with unknown rows count only if there are no others."""
    deployments = _deployments(facts)
    known = [d for d in deployments if d.known] or deployments
    broken = first_break([Faced(d.counted[0].clean, [fact.met for fact in d.counted]) for d in known])
    return broken.tier if broken else None


def _standing(scope: Scope, facts: Sequence[Fact], broken: str | None, tiers: Sequence[str]) -> Standing | None:
    deployments = _deployments(fact for fact in facts if fact.tier in tiers)
    own = [d for d in deployments if _new(scope, d)]
    if not own:
        return None

    suite = Scope.WHITE_BOX if facts[0].record.spec.key is None else scope

    def lack(runs: list[Fact]) -> list[str]:
        return missing(suite, [fact.ran for fact in runs if not fact.unknown])

    lacks = lacks_of([fact for d in own for fact in d.counted], lack)
    chosen, figures = _incomplete(own, lacks) if lacks else _whole(suite, own)
    counted = [fact for d in chosen for fact in d.counted]
    left = [fact for d in chosen for fact in d.left]
    aside = [fact for d in deployments if d not in chosen for fact in (*d.counted, *d.left)]
    rest = [d.worst for d in own if d.known and d not in chosen]
    return line(scope, "strict", counted, figures, broken, left=left, aside=aside, beside=rest)


def _incomplete(own: Sequence[Deployment], lacks: Sequence[str]) -> tuple[list[Deployment], Figures]:
    """The deployments with the most adversaries, each under all of its runs."""
    chosen = _choose(own)
    singles = [best_single([fact.robust for fact in d.counted]) for d in chosen]
    return chosen, Figures([d.worst for d in chosen], max(len(d.counted) for d in chosen), singles, tuple(lacks))


def _whole(scope: Scope, own: Sequence[Deployment]) -> tuple[list[Deployment], Figures]:
    """The lowest that each device has, over the suite under any seed and over single runs of any attack."""
    known = [d for d in own if d.known]
    worst_cases, singles = [], []
    for facts in devices_of(fact for d in known for fact in d.counted).values():
        single = best_single([fact.robust for fact in facts])
        tried = [_tried(scope, d.counted) for d in _deployments(facts)]
        worst_cases.append(best_single([single, *(mask for mask in tried if mask is not None)]))
        singles.append(single)
    return known, Figures(worst_cases, len(SUITES[scope]), singles)


def _tried(scope: Scope, facts: Sequence[Fact]) -> Mask | None:
    """The images of a deployment that are robust in all tries of a suite; None if one was not made.

    Of several runs that satisfy a try the one that leaves the fewest images counts.
    """
    left: Mask | None = None
    for one in SUITES[scope]:
        made = [fact.robust for fact in facts if satisfied(scope, fact.ran) == one]
        if not made:
            return None
        left = best_single(made if left is None else [left & mask for mask in made])
    return left


def _new(scope: Scope, deployment: Deployment) -> bool:
    """Whether a run is present that distinguishes this scope from a smaller one."""
    own = [fact for fact in deployment.counted if fact.tier in _NEW[scope]]
    return any(fact.certain for fact in own) if scope is Scope.WHITE_BOX else bool(own)


def _deployments(facts: Iterable[Fact]) -> list[Deployment]:
    """By target: a model attacked under two seeds is one deployment with both attacks."""
    by_target: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_target[fact.target].append(fact)
    return [_deployment(by_target[target]) for target in sorted(by_target)]


def _deployment(facts: Sequence[Fact]) -> Deployment:
    known = tuple(fact for fact in facts if not fact.unknown)
    counted = known or tuple(facts)
    left = tuple(fact for fact in facts if fact.unknown) if known else ()
    return Deployment(
        counted, left, frozenset(fact.adversary for fact in counted), worst(fact.robust for fact in counted)
    )


def _choose(deployments: Sequence[Deployment]) -> list[Deployment]:
    """Those with the same and the most adversaries; those with unknown rows only if there are no others."""
    known = [d for d in deployments if d.known] or deployments
    return [known[at] for at in most_met([d.adversaries for d in known], [float(d.worst.mean()) for d in known])]
