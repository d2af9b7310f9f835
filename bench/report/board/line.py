"""One line of the board, computed from its runs, paper or strict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.checks.suites import Scope
from bench.checks.tiers import place
from bench.core.canonical import digest
from bench.report.board.facts import Fact, over_keys
from bench.report.board.model import Badges, Group, Standing
from bench.report.board.names import attack_title, defense_title, same_defense, threat_title, world_of

if TYPE_CHECKING:
    from bench.checks.tiers import Mask

_AUDIT: tuple[Literal["fail", "warn", "pass"], ...] = ("fail", "warn", "pass")
_STATED = "only stated by whoever submitted it; a rank needs verdicts that were judged again here"
_DATA = 12  # hexadecimal digits of the digest of the images


@dataclass(frozen=True, eq=False)
class Figures:
    """The figures of a standing, by deployment.

    Attributes:
        worst: The images that are robust in all tries (n,).
        tries: How many tries that is.
        singles: The images that are robust under the best single attack (n,).
        missing: What a rank lacks.
    """

    worst: Sequence[Mask]
    tries: int
    singles: Sequence[Mask]
    missing: tuple[str, ...] = ()


def line(
    scope: Scope,
    protocol: Literal["strict", "paper"],
    counted: Sequence[Fact],
    figures: Figures,
    broken: str | None,
    *,
    left: Sequence[Fact] = (),
    aside: Sequence[Fact] = (),
    beside: Sequence[Mask] = (),
) -> Standing:
    """A standing without rank.

    Args:
        scope: Its scope.
        protocol: Its protocol.
        counted: Runs that make the figure.
        figures: For each deployment.
        broken: First tier that breaks the defense.
        left: Runs of the same deployments that are excluded because some of their images are unknown.
        aside: Runs of other deployments.
        beside: The robust images of the deployments that may be compared (n,).
    """
    first, tables = counted[0], figures.worst
    mean, interval, worst = over_keys(tables, first)
    weakest = min(counted, key=lambda fact: (float(fact.robust.mean()), fact.run_id))
    sources = [fact.record.metrics.source_clean_accuracy for fact in counted]
    runs = tuple(sorted({fact.run_id for fact in counted}))
    out = tuple(sorted({fact.run_id for fact in (*left, *aside)}))
    clean = {fact.target: float(fact.clean.mean()) for fact in counted}
    return Standing(
        standing_id=digest([scope, protocol, runs])[:12],
        defense=first.record.spec.defense.name,
        title=defense_title(first.record),
        group=_group(scope, protocol, first, len(tables)),
        images=len(first.robust),
        keys=len(tables),
        clean=sum(clean.values()) / len(clean),
        robust=mean,
        tries=figures.tries,
        best_single=sum(float(table.mean()) for table in figures.singles) / len(figures.singles),
        interval=interval,
        worst_key=min([worst, *(float(table.mean()) for table in beside)]),
        source_clean=(min(sources), max(sources)),
        adversaries=tuple(dict.fromkeys(fact.adversary_title for fact in sorted(counted, key=_by_tier))),
        tiers=tuple(dict.fromkeys(fact.tier_text for fact in sorted(counted, key=_by_tier))),
        first_break=broken,
        rank=None,
        rank_interval=None,
        weakest_run=weakest.run_id,
        runs=runs,
        source=None,
        badges=_badges(counted, left, figures.missing),
        same=same_defense(first.record),
        aside=out,
    )


def _group(scope: Scope, protocol: Literal["strict", "paper"], first: Fact, keys: int) -> Group:
    record = first.record
    threat = "white-box" if scope is Scope.WHITE_BOX else threat_title(record)
    return Group(
        profile=world_of(record),
        norm=record.spec.budget.norm,
        eps=str(record.spec.budget.eps),
        scope=scope,
        protocol=protocol,
        images=first.selection or f"own choice of {len(first.robust):,} images",
        data=record.digests.data[:_DATA],
        keys=keys,
        kind="stated" if first.stated else "measured",
        adversary=f"{threat}: {attack_title(record)}" if protocol == "paper" else "",
    )


def _by_tier(fact: Fact) -> tuple[int, str, str]:
    return place(fact.tier), fact.adversary_title, fact.run_id


def _badges(counted: Sequence[Fact], left: Sequence[Fact], missing: tuple[str, ...]) -> Badges:
    against = [reason for fact in sorted((*counted, *left), key=lambda f: f.run_id) for reason in _against(fact, left)]
    if all(fact.weak for fact in counted):
        against.append("every source is too inaccurate on clean images to say anything about the defense")
    stated = any(fact.stated for fact in counted)
    statuses = {found.status for fact in counted for found in fact.record.audit}
    return Badges(
        audit="stated" if stated else next((status for status in _AUDIT if status in statuses), "none"),
        verification=_verification(counted),
        eligible=not against,
        against=tuple(dict.fromkeys(against)),
        weak_source=any(fact.weak for fact in counted),
        missing=(*((_STATED,) if stated else ()), *missing),
    )


def _verification(counted: Sequence[Fact]) -> Literal["confirmed", "made here", "stated"]:
    if any(fact.stated for fact in counted):
        return "stated"
    return "confirmed" if all(fact.evidence.confirmed for fact in counted) else "made here"


def _against(fact: Fact, left: Sequence[Fact]) -> list[str]:
    out = " (left out of the figure)" if fact in left else ""
    return [f"run {fact.run_id}{out}: {reason}" for reason in fact.against]


def by_campaign(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Runs whose verdicts can be combined, in a fixed order."""
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        found[fact.campaign].append(fact)
    return {campaign: found[campaign] for campaign in sorted(found)}
