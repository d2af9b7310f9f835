"""Everything the board needs of a run, extracted once from record and rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np

from bench.checks.statistics import ConfidenceSequence, across_keys, interval
from bench.checks.suites import Ran, packaged
from bench.checks.tiers import Met
from bench.core.canonical import digest
from bench.core.known_images import selection_of
from bench.core.nouns import Outcome
from bench.report.board.model import Interval
from bench.report.board.names import adversary_title, same_defense, world_of
from bench.report.met import adversary_of
from bench.store.eligibility import Code
from bench.store.evidence import Evidence
from bench.store.record import Record

if TYPE_CHECKING:
    from bench.checks.tiers import Mask


@dataclass(frozen=True, eq=False)
class Fact:
    """One run.

    Attributes:
        evidence: The run.
        tier: The record's tier.
        declared: Whether the tier follows from digests and packaged plug-ins; otherwise a plug-in of others states it.
        certain: Whether the source is the target by digest, or the threat declares T5; T5 alone may be a rebuilt model.
        campaign: The same for runs whose verdicts can be combined: defense, budget, the digest of the images. A run
            with early stopping is alone, and so is a run from outside that was not confirmed.
        selection: The known list of images that it judged; None for a choice of somebody's own.
        adversary: The same for runs with the same threat and attack, including options; all threats with the target
            itself as source are one.
        adversary_title: Human-readable name.
        robust: The robust images (n,).
        clean: Images that the target classifies correctly without attack (n,).
        weak: Whether the source is so inaccurate that its rows do not support the defense.
        unknown: Whether it has rows without a known result: the attack raised, or a candidate was invalid.
        against: Reasons for its exclusion, other than a weak source.
    """

    evidence: Evidence
    tier: str
    declared: bool
    certain: bool
    campaign: str
    selection: str | None
    adversary: str
    adversary_title: str
    robust: Mask
    clean: Mask
    weak: bool
    unknown: bool
    against: tuple[str, ...]

    @property
    def record(self) -> Record:
        """Of the run."""
        return self.evidence.record

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.record.run_id

    @property
    def target(self) -> str:
        """Digest of the deployed model: weights, transform and key."""
        return self.record.digests.target

    @property
    def stated(self) -> bool:
        """Whether it comes from outside and was not confirmed."""
        return self.evidence.stated

    @property
    def tier_text(self) -> str:
        """The tier, and whether it is only stated."""
        return self.tier if self.declared else f"{self.tier} (stated)"

    @property
    def ran(self) -> Ran:
        """The run in the format of the suites."""
        return Ran(self.record.spec, self.record.on_target, self.weak)

    @property
    def met(self) -> Met:
        """The run in the format of the ladder's rules."""
        return Met(self.tier, self.adversary, self.robust)

    @property
    def estimated(self) -> bool:
        """Whether the whole attack ran on a sample: it has a page, and is part of no standing."""
        return self.record.spec.estimate is not None

    @property
    def attacked(self) -> bool:
        """Whether images were perturbed at all."""
        return self.record.spec.budget.eps > 0


def facts_of(evidence: Iterable[Evidence]) -> list[Fact]:
    """One fact per run, by run id; of duplicates the one with the best provenance counts."""
    ordered = sorted(evidence, key=lambda e: (e.record.run_id, e.stated, not e.confirmed, e.record.digests.verdicts))
    return [_fact(e) for e in {e.record.run_id: e for e in reversed(ordered)}.values()][::-1]


def _fact(evidence: Evidence) -> Fact:
    record, rows = evidence.record, evidence.rows
    spec, metrics, count = record.spec, record.metrics, len(evidence.rows)
    return Fact(
        evidence=evidence,
        tier=record.tier,
        declared=_declared(record),
        certain=record.on_target or record.adversary.tier == "T5",
        campaign=_campaign(evidence),
        selection=None if spec.stop_at else selection_of(spec.profile.dataset, [row.image_id for row in rows]),
        adversary=adversary_of(record),
        adversary_title=adversary_title(record),
        robust=np.fromiter((row.robust for row in rows), np.bool_, count),
        clean=np.fromiter((row.right for row in rows), np.bool_, count),
        weak=record.weak_source,
        unknown=bool(metrics.outcomes.get(Outcome.ERROR, 0) + metrics.outcomes.get(Outcome.INVALID, 0)),
        against=tuple(r.text for r in record.ineligible_because if r.code is not Code.WEAK_SOURCE),
    )


def _declared(record: Record) -> bool:
    if record.on_target:
        return True
    made_for_transfer = record.tier == "T1+"  # which the attack declares
    known = packaged("threats", record.spec.threat)
    return known and (not made_for_transfer or packaged("attacks", record.spec.attack))


def _campaign(evidence: Evidence) -> str:
    record = evidence.record
    spec = record.spec
    # a run with early stopping is a separate experiment: its verdicts determine which images it judged
    alone = None if spec.stop_at is None else [spec.stop_at, record.digests.target]
    stated = record.run_id if evidence.stated else None
    return digest([world_of(record), same_defense(record), str(spec.budget), record.digests.data, alone, stated])


@cache
def fixed_interval(count: int, images: int) -> Interval:
    """Interval of ``count`` of ``images``, cached because a board repeats the same ones."""
    return interval(count, images)


def interval_of(fact: Fact, count: int) -> Interval:
    """Interval of ``count`` robust images of the run; the confidence sequence's for a run with early stopping."""
    images, spec = len(fact.robust), fact.record.spec
    if spec.stop_at is None:
        return fixed_interval(count, images)
    population = fact.record.population
    return ConfidenceSequence(spec.stop_at, population=population if images < population else None).interval(
        count, images
    )


def over_keys(tables: Sequence[Mask], fact: Fact) -> tuple[float, Interval, float]:
    """Mean, interval and smallest share of deployments judged on the same images.

    Args:
        tables: For each deployment, the robust images (n,).
        fact: One of the runs.
    """
    shares = [float(table.mean()) for table in tables]
    if len(tables) == 1 or len(tables[0]) < 2:
        mean = sum(shares) / len(shares)
        return mean, interval_of(fact, round(mean * len(tables[0]))), min(shares)
    # a single sample: the bootstrap is only for comparison and is not shown
    found = across_keys(cast("Sequence[Sequence[bool]]", tables), seed=0, draws=1)
    return found.mean, found.interval, found.minimum
