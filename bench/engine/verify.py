"""Judge the stored adversarial images of a run again, from scratch, and compare every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, fields

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.progress import stage
from bench.core.registry import registry
from bench.core.selection import IdList, read_ids
from bench.core.spec import Spec
from bench.engine.early_stop import Enough, sequence_of
from bench.engine.evaluation import Evaluation
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.shards import Shard
from bench.engine.summarise import metrics_of
from bench.engine.two_phases import rows_of
from bench.store.run import Run
from bench.store.runs import RunFolder
from bench.store.verdicts import Row, images_digest


@dataclass(frozen=True)
class Verification:
    """The result: number of images judged again, and each disagreement in one line."""

    images: int
    disagreements: list[str]


def verify(folder: RunFolder, key: Key | None, means: Means) -> Verification:
    """Compare a run's verdicts, digests and metrics with a fresh judgement of its stored adversarial images.

    No attack runs. The images that it must hold come from data and Spec, not from its rows. Distances may differ in the
    last bits between machines and are compared to 1e-5.

    Raises:
        BenchError: if record or verdicts are damaged, or the adversarial images are not stored.
    """
    run = folder.read()
    record, rows = run.record, list(run.rows)
    evaluation = Evaluation(Job(record.spec, key, _listed(record.spec, run)), means, only_kept=True)
    found = [
        f"{name}: record has {getattr(record.digests, name)[:12]}, here it is {got[:12]}"
        for name, got in (
            ("target", evaluation.target.digest),
            ("source", evaluation.source.digest),
        )
        if got != getattr(record.digests, name)
    ]
    metrics = metrics_of(rows, sequence_of(record.spec, len(rows), record.population))
    if metrics.as_said(record.metrics) != record.metrics:
        found.append("metrics: do not follow from the verdicts")
    if len(evaluation.chosen) != record.population:
        found.append(f"population: record has {record.population} images, data and spec {len(evaluation.chosen)}")
    with closing(evaluation.judging):
        again = _judged(evaluation, means)
    if images_digest(again) != record.digests.data:
        found.append("data: the images differ from those that were judged")
    if len(again) != len(rows):
        found.append(f"verdicts: record has {len(rows)}, expected {len(again)}")
    names = _compared(rows)
    found += [line for kept, new in zip(rows, again, strict=False) if (line := _difference(kept, new, names))]
    return Verification(len(again), found)


def _listed(spec: Spec, run: Run) -> tuple[str, ...] | None:
    """The ids of the Spec's list, from the verdicts if they are all of it, else from the list; None if it has none."""
    if spec.ids is None:
        return None
    name, judged = spec.ids.name, tuple(row.image_id for row in run.rows)
    if IdList.of(name, judged) == spec.ids:
        return judged
    with suppress(InputError):
        folders = registry("datasets").load(spec.profile.dataset).folders_in_ids
        if IdList.of(name, found := read_ids(name, folders=folders)) == spec.ids:
            return found
    raise InputError(f"the run's images are from the id list {name!r}, which is not here or is another one; "
                     f"expected the file of {spec.ids.count} ids with that name in the working folder")  # fmt: skip


def _judged(evaluation: Evaluation, means: Means) -> list[Row]:
    """The rows of the images that data and Spec select, as far as the run's stopping rule goes."""
    enough, done = Enough(evaluation.spec, len(evaluation.chosen)), dict[int, Shard]()
    with stage(means.progress, "judge again", evaluation.judgements, "image") as advance:
        for index in enough.wanted(list(evaluation.shards), done):
            done[index] = evaluation.shard(index)
            advance(len(done[index].rows))
    return rows_of(evaluation.spec, enough.taken(done))


def _compared(rows: Sequence[Row]) -> list[str]:
    """The columns to compare besides id and distance: of the further measurements, those that the run has."""
    later = {f.name for f in fields(Row) if f.default is None}
    held = {name for name in later if any(getattr(row, name) is not None for row in rows)}
    return [f.name for f in fields(Row) if f.name not in ("image_id", "distance") and f.name not in later - held]


def _difference(kept: Row, new: Row, names: Sequence[str]) -> str | None:
    if kept.image_id != new.image_id:
        return f"{kept.image_id}: in the record in place of {new.image_id}"
    if kept.outcome != new.outcome:
        return f"{kept.image_id}: record says {kept.outcome}, judged again {new.outcome}"
    for name in names:
        if getattr(kept, name) != getattr(new, name):
            return f"{kept.image_id}: {name} is {getattr(kept, name)} in the record, {getattr(new, name)} here"
    if abs((kept.distance or 0) - (new.distance or 0)) > 1e-5:
        return f"{kept.image_id}: distance is {kept.distance} in the record, {new.distance} here"
    return None
