"""One line of the board, computed from its runs, paper or strict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bench.checks.suites import Scope
from bench.checks.tiers import place
from bench.core.canonical import digest
from bench.report.board.facts import Fact, over_keys
from bench.report.board.model import Badges, Group, Standing
from bench.report.board.names import attack_title, defense_title, threat_title, world_of

if TYPE_CHECKING:
    from bench.checks.tiers import Mask

# RobustBench's subset and the paper's split are the usual sizes; larger and smaller samples are kept apart.
_N_TIERS = ((50_000, "50,000"), (5_000, "5,000 and more"), (1_000, "1,000 and more"))
_AUDIT: tuple[Literal["fail", "warn", "pass"], ...] = ("fail", "warn", "pass")


def n_tier(images: int) -> str:
    """The range of the number of images per key."""
    return next((name for least, name in _N_TIERS if images >= least), "under 1,000")


def line(
    scope: Scope,
    protocol: Literal["strict", "paper"],
    counted: Sequence[Fact],
    tables: Sequence[Mask],
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
        tables: For each deployment, the robust images (n,).
        broken: First tier that breaks the defense.
        left: Runs of the same deployments that are excluded because some of their images are unknown.
        aside: Runs of other deployments.
        beside: The robust images of the deployments that may be compared (n,).
    """
    first, images = counted[0], len(tables[0])
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
        group=_group(scope, protocol, first, images),
        images=images,
        keys=len(tables),
        clean=sum(clean.values()) / len(clean),
        robust=mean,
        interval=interval,
        worst_key=min([worst, *(float(table.mean()) for table in beside)]),
        source_clean=(min(sources), max(sources)),
        adversaries=tuple(dict.fromkeys(fact.adversary_title for fact in sorted(counted, key=_by_tier))),
        tiers=tuple(dict.fromkeys(fact.tier for fact in sorted(counted, key=_by_tier))),
        first_break=broken,
        rank=None,
        rank_interval=None,
        weakest_run=weakest.run_id,
        runs=runs,
        source=None,
        badges=_badges(counted, left),
        aside=out,
    )


def _group(scope: Scope, protocol: Literal["strict", "paper"], first: Fact, images: int) -> Group:
    spec, world = first.record.spec, world_of(first.record)
    threat = "white-box" if scope is Scope.WHITE_BOX else threat_title(first.record)
    adversary = f"{threat}: {attack_title(first.record)}" if protocol == "paper" else ""
    return Group(world, spec.budget.norm, str(spec.budget.eps), scope, protocol, n_tier(images), "measured", adversary)


def _by_tier(fact: Fact) -> tuple[int, str, str]:
    return place(fact.tier), fact.adversary_title, fact.run_id


def _badges(counted: Sequence[Fact], left: Sequence[Fact]) -> Badges:
    against = [reason for fact in sorted((*counted, *left), key=lambda f: f.run_id) for reason in _against(fact, left)]
    if all(fact.weak for fact in counted):
        against.append("every source is too inaccurate on clean images to say anything about the defense")
    statuses = {found.status for fact in counted for found in fact.record.audit}
    return Badges(
        audit=next((status for status in _AUDIT if status in statuses), "none"),
        verification="confirmed" if all(fact.evidence.confirmed for fact in counted) else "recomputed",
        eligible=not against,
        against=tuple(dict.fromkeys(against)),
        weak_source=any(fact.weak for fact in counted),
    )


def _against(fact: Fact, left: Sequence[Fact]) -> list[str]:
    out = " (left out of the figure)" if fact in left else ""
    return [f"run {fact.run_id}{out}: {reason}" for reason in fact.against]


def by_campaign(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Runs whose verdicts can be combined, in a fixed order."""
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        found[fact.campaign].append(fact)
    return {campaign: found[campaign] for campaign in sorted(found)}
