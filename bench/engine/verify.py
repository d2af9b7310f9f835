"""Judge the stored adversarial images of a run again, from scratch, and compare every verdict."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.key import Key
from bench.core.progress import stage
from bench.engine.early_stop import sequence_of
from bench.engine.evaluate import Evaluation
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.summarise import metrics_of
from bench.store.runs import RunFolder
from bench.store.verdicts import images_digest


@dataclass(frozen=True)
class Verification:
    """The result: number of images judged again, and each disagreement in one line."""

    images: int
    disagreements: list[str]


def verify(folder: RunFolder, key: Key | None, means: Means) -> Verification:
    """Compare a run's verdicts, digests and metrics with a fresh judgement of its stored adversarial images.

    No attack runs. Distances may differ in the last bits between machines and are compared to 1e-5.

    Raises:
        BenchError: if record or verdicts are damaged, or the adversarial images are not stored.
    """
    run = folder.read()
    record, rows = run.record, list(run.rows)
    evaluation = Evaluation(Job(record.spec, key, tuple(run.by_id)), means, only_kept=True)
    found = [
        f"{name}: record has {getattr(record.digests, name)[:12]}, here it is {got[:12]}"
        for name, got in (
            ("target", evaluation.target.digest),
            ("source", evaluation.source.digest),
        )
        if got != getattr(record.digests, name)
    ]
    if metrics_of(rows, sequence_of(record.spec, len(rows), record.population)) != record.metrics:
        found.append("metrics: do not follow from the verdicts")
    again = []
    with stage(means.progress, "judge again", len(evaluation.chosen), "image") as advance:
        for index in evaluation.shards:
            again += evaluation.shard(index).rows
            advance(min(record.spec.shard_size, len(evaluation.chosen) - index * record.spec.shard_size))
    if images_digest(again) != record.digests.data:
        found.append("data: the images differ from those that were judged")
    if len(again) != len(rows):
        found.append(f"verdicts: record has {len(rows)}, expected {len(again)}")
    for kept, new in zip(rows, again, strict=False):
        same = all(getattr(kept, f) == getattr(new, f) for f in kept.__dataclass_fields__ if f != "distance")
        if not same or abs((kept.distance or 0) - (new.distance or 0)) > 1e-5:
            found.append(f"{kept.image_id}: record says {kept.outcome}, judged again {new.outcome}")
    return Verification(len(again), found)
