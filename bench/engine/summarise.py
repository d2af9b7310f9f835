"""From verdicts to a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bench.checks.statistics import ConfidenceSequence, TwoPhase, interval
from bench.core.cost import Meter
from bench.core.nouns import Outcome, Protocol, Trained
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.declared import changed_of, recipe_of
from bench.engine.early_stop import sequence_of, stopped
from bench.engine.flops import Arithmetic
from bench.engine.shards import Shard
from bench.engine.two_phases import counts_of, rows_of
from bench.store.record import (
    AdversaryAbout,
    Controls,
    Cost,
    Digests,
    Estimate,
    Found,
    Metrics,
    Part,
    Provenance,
    Record,
    effective_tier,
    reasons_against,
)
from bench.store.verdicts import Row, images_digest, rows_digest


@dataclass(frozen=True)
class SourceCost:
    """Cost of one image for the source, and the device's measured peak per second (None if nothing was attacked)."""

    arithmetic: Arithmetic
    peak: float | None


@dataclass(frozen=True)
class Looked:
    """Findings of the quick form of the audit, and on how many images it ran; none if eps is 0."""

    findings: list[Found] = field(default_factory=list)
    images: int | None = None


def metrics_of(rows: list[Row], sequence: ConfidenceSequence | TwoPhase | None = None) -> Metrics:
    """All figures of a record, from its verdicts alone; with the sequence's interval for a run with early stopping.

    In two phases, the figures that the whole attack on all images would need are left out.
    """
    if isinstance(sequence, TwoPhase):
        estimate = _estimate(rows, sequence)
        return metrics_of(rows).model_copy(
            update={
                "robust_accuracy": estimate.estimate,
                "robust_accuracy_interval": (estimate.low, estimate.high),
                "paper_accuracy": None,
                "controls": None,
                "estimate": estimate,
            }
        )
    n = len(rows)
    outcomes = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
    return Metrics(
        images=n,
        clean_accuracy=sum(row.clean_prediction == row.label for row in rows) / n,
        robust_accuracy=outcomes[Outcome.ROBUST] / n,
        robust_accuracy_interval=(sequence.interval if sequence else interval)(outcomes[Outcome.ROBUST], n),
        source_clean_accuracy=sum(row.source_prediction == row.label for row in rows) / n,
        target_alone=sum(row.clean_prediction == row.label != row.source_prediction for row in rows),
        source_alone=sum(row.source_prediction == row.label != row.clean_prediction for row in rows),
        outcomes=outcomes,
        paper_accuracy=sum(row.paper_right for row in rows) / n,
        controls=_controls(rows),
        quantized_accuracy=_share([row.quantized_robust for row in rows], [row.quantized_prediction for row in rows]),
        expected_accuracy=_share([row.share or 0.0 for row in rows], shares := [row.share for row in rows]),
        every_member_accuracy=_share([row.share == 1 for row in rows], shares),
    )


def _estimate(rows: list[Row], rule: TwoPhase) -> Estimate:
    counts = counts_of(rows)
    low, high = rule.interval(counts)
    return Estimate(
        points=rule.points,
        n1=counts.images,
        survivors=counts.survivors,
        n2=counts.sampled,
        fell=counts.fell,
        estimate=counts.estimate,
        low=low,
        high=high,
        behind=rule.behind(counts),
    )


def _share(counts: Sequence[float], measured: Sequence[float | None]) -> float | None:
    """The mean over all images; None if none was measured."""
    return sum(counts) / len(counts) if any(value is not None for value in measured) else None


def _controls(rows: list[Row]) -> Controls | None:
    """The controls, all three over the same images: those with another image in their shard, if there are any."""
    moved = [row for row in rows if row.moved and row.right and row.noise_prediction is not None]
    paired = [row for row in moved if row.other_prediction is not None]
    found = paired or moved
    if not found:
        return None
    own, other, noise = (
        sum(getattr(row, f"{name}_prediction") == row.label for row in found) / len(found)
        for name in ("adversarial", "other", "noise")
    )
    return Controls(images=len(found), own=own, other=other if paired else None, noise=noise)


def summarise(
    spec: Spec,
    shards: list[Shard],
    *,
    target: Trained,
    source: Trained,
    about: list[str],
    adversary: AdversaryAbout,
    audit: Looked,
    population: int,
    effort: SourceCost,
    seconds: float,
    provenance: Provenance,
) -> Record:
    """The record of a run with all shards present."""
    rows = rows_of(spec, shards)
    metrics = metrics_of(rows, sequence_of(spec, len(rows), population))
    against = reasons_against(spec, metrics, audit.findings)
    said = [shard.about for shard in shards]
    digests = Digests(data=images_digest(rows), target=target.digest, source=source.digest, verdicts=rows_digest(rows))
    return Record(
        run_id=spec.run_id,
        spec=spec,
        tier=effective_tier(spec, adversary, digests),
        adversary=adversary,
        changed=changed_of(spec),
        recipe=recipe_of(spec.defense),
        metrics=metrics,
        eligible=not against,
        ineligible_because=against,
        notes=[*_notes(spec, rows, source, about), *stopped(spec, len(rows), population)],
        warnings=list(dict.fromkeys(w for a in said for w in a["warnings"])),
        population=population,
        audit=audit.findings,
        audit_images=audit.images,
        reliable=not any(found.status == "fail" for found in audit.findings),
        digests=digests,
        cost=_cost(spec, shards, effort, seconds),
        provenance=provenance,
    )


def _cost(spec: Spec, shards: list[Shard], effort: SourceCost, seconds: float) -> Cost:
    about = [shard.about for shard in shards]
    meters: dict[str, Meter] = {}
    for made in (made for a in about for made in a["meters"]):
        for name, values in made.items():
            meters.setdefault(name, Meter()).add(Meter(**values))
    attack_seconds = sum(a["seconds"] for a in about)
    forwards, backwards = (sum(getattr(m, kind) for m in meters.values()) for kind in ("forwards", "backwards"))
    reused, resumed = sum(a["reused"] for a in about), sum(shard.resumed for shard in shards)
    model_seconds = sum(m.model_seconds for m in meters.values())
    mfu = None
    flops = effort.arithmetic.total(forwards, backwards)
    if effort.peak and model_seconds and not reused and not resumed and flops is not None:
        mfu = flops / model_seconds / effort.peak
    return Cost(
        parts=[Part(attack=name, **{k: _rounded(v) for k, v in asdict(m).items()}) for name, m in meters.items()],
        source_forwards=forwards,
        source_backwards=backwards,
        images_per_second=sum(len(s.rows) for s in shards) / attack_seconds if attack_seconds else None,
        flops_forward=effort.arithmetic.forward,
        flops_backward=effort.arithmetic.backward,
        peak_flops=effort.peak,
        mfu=mfu,
        attack_seconds=round(attack_seconds, 3),
        total_seconds=round(seconds, 3),
        shards=len(shards),
        shards_resumed=resumed,
        shards_reused=reused,
    )


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 3)


def _notes(spec: Spec, rows: list[Row], source: Trained, about: list[str]) -> list[str]:
    notes = [f"source: {source.note}", *about]
    if spec.key is not None and spec.key.origin == "seed":
        notes.append("the defender's key is derived from the public seed: it is not secret (give --key NAME for one)")
    if spec.budget.doubt:
        notes.append(spec.budget.doubt)
    if not registry("attacks").load(spec.attack.name).per_image:
        notes.append(f"{spec.attack.name} draws random numbers per batch: candidates depend on batch and shard size")
    if spec.protocol is Protocol.PAPER:
        left = sum(row.attack == "none" for row in rows)
        notes.append(f"protocol paper: {left} images that the source misclassifies were left clean, not attacked")
    elif spec.fallback is not None and (count := sum(row.attack == spec.fallback.name for row in rows)):
        notes.append(
            f"protocol strict: {count} images that {spec.attack.name} returned clean were attacked with "
            f"{spec.fallback.name}"
        )
    return notes
