"""What the board needs of a run, taken out of record and rows once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, cast

import numpy as np

from bench.checks.statistics import ConfidenceSequence, across_keys, interval
from bench.checks.tiers import Met
from bench.core.canonical import digest
from bench.core.nouns import Outcome
from bench.report.board.model import Interval
from bench.report.board.names import adversary_title
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
        evidence: It.
        tier: Of the record.
        certain: The source is the target by digest, or the threat says T5; T5 alone may be a model made alike.
        campaign: Same for runs whose verdicts may be put together: profile, defense, budget, images.
        adversary: Same for runs with the same threat and attack, options included; all threats are one whose source
            is the target itself.
        adversary_title: For people.
        robust: Which images stand (n,).
        clean: Which images the target gets right before any attack (n,).
        weak: The source is so inaccurate that its rows say nothing for the defense.
        unknown: It has rows of which nothing is known: the attack raised, or a candidate was invalid.
        against: What rules it out, but for a weak source.
    """

    evidence: Evidence
    tier: str
    certain: bool
    campaign: str
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
    def met(self) -> Met:
        """As the rules of the ladder take it."""
        return Met(self.tier, self.adversary, self.robust)

    @property
    def attacked(self) -> bool:
        """Whether images were moved at all."""
        return self.record.spec.budget.eps > 0


def facts_of(evidence: Iterable[Evidence]) -> list[Fact]:
    """A fact for each run, by run id; the same run twice counts once."""
    ordered = sorted(evidence, key=lambda e: (e.record.run_id, e.confirmation is None, e.record.digests.verdicts))
    return [_fact(e) for e in {e.record.run_id: e for e in reversed(ordered)}.values()][::-1]


def _fact(evidence: Evidence) -> Fact:
    record, rows = evidence.record, evidence.rows
    spec, metrics, count = record.spec, record.metrics, len(evidence.rows)
    robust = np.fromiter((row.robust for row in rows), np.bool_, count)
    clean = np.fromiter((row.right for row in rows), np.bool_, count)
    images = sha256("\0".join(row.image_id for row in rows).encode()).hexdigest()
    same = [spec.profile.model_dump(mode="json"), spec.defense.model_dump(mode="json"), str(spec.budget)]
    # a run that may end early is an experiment of its own: which images it judged hangs on their verdicts
    alone = None if spec.stop_at is None else [spec.stop_at, record.digests.target]
    return Fact(
        evidence=evidence,
        tier=record.tier,
        certain=record.on_target or record.adversary.tier == "T5",
        campaign=digest([*same, record.digests.data, images, alone]),
        adversary=adversary_of(record),
        adversary_title=adversary_title(record),
        robust=robust,
        clean=clean,
        weak=record.weak_source,
        unknown=bool(metrics.outcomes.get(Outcome.ERROR, 0) + metrics.outcomes.get(Outcome.INVALID, 0)),
        against=tuple(r.text for r in record.ineligible_because if r.code is not Code.WEAK_SOURCE),
    )


@cache
def fixed_interval(count: int, images: int) -> Interval:
    """Of ``count`` of ``images``; a board asks for the same ones again and again."""
    return interval(count, images)


def interval_of(fact: Fact, count: int) -> Interval:
    """Of ``count`` robust images of the run's; of a confidence sequence where it might have ended early."""
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
        tables: For each deployment, which images stand (n,).
        fact: One of the runs.
    """
    shares = [float(table.mean()) for table in tables]
    if len(tables) == 1 or len(tables[0]) < 2:
        mean = sum(shares) / len(shares)
        return mean, interval_of(fact, round(mean * len(tables[0]))), min(shares)
    # one draw: the bootstrap is for comparison and is not shown
    found = across_keys(cast("Sequence[Sequence[bool]]", tables), seed=0, draws=1)
    return found.mean, found.interval, found.minimum
