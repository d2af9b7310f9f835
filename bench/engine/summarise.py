"""From verdicts to a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.checks.statistics import interval
from bench.core.nouns import Outcome, Protocol, Trained
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.store.record import Cost, Digests, Metrics, Provenance, Record
from bench.store.verdicts import Row, rows_digest


@dataclass(frozen=True)
class Shard:
    """The verdicts of one shard and what they cost; ``resumed`` if an earlier process made them."""

    index: int
    rows: list[Row]
    about: dict[str, Any]
    resumed: bool = False


def metrics_of(rows: list[Row]) -> Metrics:
    """Every figure of a record, from its verdicts alone."""
    n = len(rows)
    outcomes = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
    return Metrics(
        images=n,
        clean_accuracy=sum(row.clean_prediction == row.label for row in rows) / n,
        robust_accuracy=outcomes[Outcome.ROBUST] / n,
        robust_accuracy_interval=interval(outcomes[Outcome.ROBUST], n),
        source_clean_accuracy=sum(row.source_prediction == row.label for row in rows) / n,
        outcomes=outcomes,
    )


def summarise(
    spec: Spec,
    shards: list[Shard],
    *,
    target: Trained,
    source: Trained,
    base: Trained,
    data: str,
    seconds: float,
    provenance: Provenance,
) -> Record:
    """The record of a run whose shards are all there."""
    rows = [row for shard in shards for row in shard.rows]
    metrics = metrics_of(rows)
    against = _against(metrics)
    about = [shard.about for shard in shards]
    return Record(
        run_id=spec.run_id,
        spec=spec,
        metrics=metrics,
        eligible=not against,
        ineligible_because=against,
        notes=_notes(spec, rows, source),
        warnings=list(dict.fromkeys(w for a in about for w in a["warnings"])),
        digests=Digests(
            data=data, base=base.digest, target=target.digest, source=source.digest, verdicts=rows_digest(rows)
        ),
        cost=Cost(
            source_forwards=sum(a["forwards"] for a in about),
            source_backwards=sum(a["backwards"] for a in about),
            attack_seconds=round(sum(a["seconds"] for a in about), 3),
            total_seconds=round(seconds, 3),
            shards=len(shards),
            shards_resumed=sum(shard.resumed for shard in shards),
            shards_reused=sum(a["reused"] for a in about),
        ),
        provenance=provenance,
    )


def _against(metrics: Metrics) -> list[str]:
    bad = {
        Outcome.ERROR: "the attack raised on {} images: nothing is known of them",
        Outcome.INVALID: "{} candidates were out of budget, outside [0, 1] or not finite",
    }
    return [text.format(metrics.outcomes[o]) for o, text in bad.items() if metrics.outcomes[o]]


def _notes(spec: Spec, rows: list[Row], source: Trained) -> list[str]:
    notes = [f"source: {source.note}"]
    if spec.key is not None and spec.key.origin == "seed":
        notes.append("the defender's key is derived from the public seed: it is no secret (give --key NAME for one)")
    if spec.ball.doubt:
        notes.append(spec.ball.doubt)
    if not registry("attacks").load(spec.attack.name).per_image:
        notes.append(f"{spec.attack.name} draws randomness for a batch: its candidates depend on batch and shard size")
    if spec.protocol is Protocol.PAPER:
        left = sum(row.attack == "none" for row in rows)
        notes.append(f"protocol paper: {left} images that the source misclassifies were left clean, not attacked")
    elif spec.fallback is not None and (count := sum(row.attack == spec.fallback.name for row in rows)):
        notes.append(
            f"protocol strict: {count} images that {spec.attack.name} handed back clean were attacked with "
            f"{spec.fallback.name}"
        )
    return notes
