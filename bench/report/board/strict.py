"""Strict standings: for every scope, the per-image worst case of the deployments with the most adversaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.checks.suites import Scope
from bench.checks.tiers import Faced, first_break, most_met, worst
from bench.core.tiers import TIERS
from bench.report.board.facts import Fact
from bench.report.board.line import line
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
    chosen, others = _choose([d for d in deployments if _new(scope, d)])
    if not chosen:
        return None
    counted = [fact for d in chosen for fact in d.counted]
    left = [fact for d in chosen for fact in d.left]
    aside = [fact for d in (*others, *(d for d in deployments if not _new(scope, d))) for fact in (*d.counted, *d.left)]
    rest = [d.worst for d in deployments if d.known and _new(scope, d) and d not in chosen]
    return line(scope, "strict", counted, [d.worst for d in chosen], broken, left=left, aside=aside, beside=rest)


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


def _choose(deployments: Sequence[Deployment]) -> tuple[list[Deployment], list[Deployment]]:
    """Those with the same and the most adversaries, and the others; unknown rows go last."""
    known = [d for d in deployments if d.known] or deployments
    best = [known[at] for at in most_met([d.adversaries for d in known], [float(d.worst.mean()) for d in known])]
    return best, [d for d in deployments if d not in best]
