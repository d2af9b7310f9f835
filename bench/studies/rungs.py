"""The record of a ladder, computed from the runs of its rungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from bench.checks.statistics import interval
from bench.checks.tiers import Faced, Met, first_break, place, worst, worst_up_to
from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.store.eligibility import Code
from bench.store.ladders import LadderRecord, Rung, Skipped, Tier
from bench.store.record import Record
from bench.store.run import Run
from bench.studies.tries import tries_of

if TYPE_CHECKING:
    from bench.checks.tiers import Mask

_LENGTHS = {"first": "first success", "budget": "full length"}  # of an attack with a mode, as the ladder calls them


@dataclass(frozen=True)
class Climbed:
    """The completed runs of a ladder.

    Attributes:
        ladder: Its name.
        rungs: At least one run, all of one deployment on the same images.
        paper: The paper's measurements; excluded from every worst case.
        skipped: Omitted rungs.
    """

    ladder: str
    rungs: Sequence[Run]
    paper: Sequence[Record] = ()
    skipped: Sequence[Skipped] = field(default_factory=tuple)


def ladder_record(climbed: Climbed, *, broken_below: float, seconds: float) -> LadderRecord:
    """Rungs by their effective tiers, the per-image worst case up to each, and the first tier that breaks the defense.

    Args:
        climbed: The runs.
        broken_below: Share of the clean accuracy below which a defense counts as broken.
        seconds: Time taken.

    Raises:
        InputError: if two rungs judged different images.
    """
    ordered = sorted(climbed.rungs, key=lambda ran: place(ran.record.tier))
    met = _met(ordered)
    so_far = accumulate((run.robust for run in met), lambda a, b: worst([a, b]))
    rungs = [_rung(ran.record, float(left.mean())) for ran, left in zip(ordered, so_far, strict=True)]
    paper = [_rung(record, None) for record in climbed.paper]
    first = ordered[0].record
    clean = np.array([row.clean_prediction == row.label for row in ordered[0].rows])
    broken = first_break([Faced(clean, met)], below=broken_below)
    return LadderRecord(
        ladder_id=digest([climbed.ladder, [rung.run_id for rung in rungs + paper], broken_below])[:16],
        ladder=climbed.ladder,
        profile=first.spec.profile.name,
        defense=first.spec.defense,
        budget=first.spec.budget,
        seed=first.spec.seed,
        images=len(clean),
        clean_accuracy=first.metrics.clean_accuracy,
        clean_interval=interval(int(clean.sum()), len(clean)),
        rungs=rungs,
        paper=paper,
        skipped=list(climbed.skipped),
        tiers=_tiers(rungs, met, ordered),
        broken_below=broken_below,
        first_break=broken.tier if broken else None,
        eligible=not any(reason.code is not Code.WEAK_SOURCE for rung in rungs for reason in rung.against),
        seconds=round(seconds, 3),
    )


def _met(ordered: Sequence[Run]) -> list[Met]:
    ids = [row.image_id for row in ordered[0].rows]
    out = []
    for ran in ordered:
        robust = ran.robust
        if robust.keys() != set(ids):
            raise InputError("two rungs judged different images; delete the older results and run the ladder again")
        out.append(Met(ran.record.tier, ran.id, np.array([robust[image] for image in ids])))
    return out


def _tiers(rungs: Sequence[Rung], met: Sequence[Met], ordered: Sequence[Run]) -> list[Tier]:
    """One line per tier; rungs with a weak source do not provide its figure."""
    out = []
    for tier, left in worst_up_to(met).items():
        own: list[Mask] = [
            run.robust for run, rung in zip(met, rungs, strict=True) if rung.tier == tier and not rung.source_too_weak
        ]
        tried = tries_of([ran for ran in ordered if _order(ran.record.tier) <= _order(tier)])
        out.append(
            Tier(
                tier=tier,
                robust_accuracy=float(worst(own).mean()) if own else None,
                up_to=float(left.mean()),
                interval=interval(int(left.sum()), len(left)),
                tries=len(tried.runs),
                best_single=tried.best_single,
                quantized=tried.quantized,
                expected=tried.expected,
            )
        )
    return out


def _rung(record: Record, worst_so_far: float | None) -> Rung:
    metrics = record.metrics
    return Rung(
        run_id=record.run_id,
        tier=record.tier,
        threat=record.spec.threat,
        attack=_attack(record),
        robust_accuracy=metrics.robust_accuracy,
        interval=metrics.robust_accuracy_interval,
        worst_so_far=worst_so_far,
        source_clean_accuracy=metrics.source_clean_accuracy,
        source_too_weak=record.weak_source,
        against=record.ineligible_because,
        controls=metrics.controls,
    )


def _attack(record: Record) -> str:
    """Its name; on a source that is not the target also how far it runs, because that decides what transfers."""
    attack = record.spec.attack
    length = None if record.on_target else _LENGTHS.get(str(attack.options.get("mode")))
    return f"{attack.name} ({length})" if length else attack.name


def _order(tier: str) -> tuple[int, str]:
    return place(tier), tier
