"""One evaluation: shards through attack and judge, resumable, to a record."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bench.core.errors import CorruptArtifactError, InputError
from bench.core.life import this_process
from bench.core.nouns import Outcome
from bench.core.plugins import Backend, Crew
from bench.core.progress import stage
from bench.core.registry import registry
from bench.engine.declared import adversary_about
from bench.engine.early_stop import Enough
from bench.engine.evaluation import Evaluation
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.provenance import provenance
from bench.engine.shards import Shard
from bench.engine.summarise import summarise
from bench.engine.two_phases import rows_of
from bench.engine.versions import outsiders
from bench.engine.work import ShardWork, make
from bench.store.elsewhere import check_results
from bench.store.run import Run
from bench.store.runs import RunFolder


def run(job: Job, means: Means) -> Run:
    """Run the missing shards of a job and write its record; a complete run of the same images is read back.

    Args:
        job: The evaluation.
        means: Device, folders, progress.

    Returns:
        Record and verdicts; ``complete`` says whether they existed already.

    Raises:
        BenchError: for bad input, damaged files, or a full disk; finished shards are kept.
    """
    job = with_images(job, means)
    backend = backend_of(means)
    check_results(means.results.root)
    folder = means.results.run(job.run_id)
    if found := _finished(folder):
        folder.tidy()
        return found
    backend.check(Crew(means.workers, means.device))
    began = Began.now()
    with folder.locked():
        if found := _finished(folder):  # another process ended it before this one had the lock
            return found
        evaluation = Evaluation(job, means)
        with closing(evaluation.judging):
            shards = _collect(evaluation, folder, means, backend)
            return finish(evaluation, folder, means, shards, began)


def with_images(job: Job, means: Means) -> Job:
    """A job that names the contents of its images."""
    return job if job.spec.images else replace(job, spec=ImagesHere(means).named(job.spec, job.ids))


@dataclass(frozen=True)
class Began:
    """When an evaluation began: the time of day in UTC (ISO 8601), and a clock in seconds."""

    started: str
    clock: float

    @classmethod
    def now(cls) -> Began:
        """Now."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic())


def finish(evaluation: Evaluation, folder: RunFolder, means: Means, shards: list[Shard], began: Began) -> Run:
    """Write verdicts and record of a run from its shards; the folder is locked."""
    from bench.engine.quick_audit import look  # noqa: PLC0415 (a second to import; only a run needs it)

    spec, judging = evaluation.spec, evaluation.judging
    looked = look(evaluation.world, evaluation.threat, evaluation.source, evaluation.chosen)
    record = summarise(
        spec,
        shards,
        target=evaluation.target,
        source=evaluation.source,
        about=[
            *outsiders(spec, means.backend),
            *evaluation.about_data,
            *dict.fromkeys(evaluation.world.notes),
        ],
        adversary=adversary_about(evaluation.threat, spec.attack),
        audit=replace(looked, findings=[*looked.findings, *judging.found(shards, looked.findings)]),
        population=len(evaluation.chosen),
        effort=evaluation.effort(),
        seconds=time.monotonic() - began.clock,
        provenance=provenance(
            started=began.started,
            argv=list(means.argv),
            device=means.device,
            key_name=means.key_name,
            isolated=judging.isolated,
        ),
    )
    rows = rows_of(spec, shards)
    folder.finish(record, rows)
    return Run(record, tuple(rows), complete=False, folder=folder.path)


def backend_of(means: Means) -> Backend:
    """The backend, with its address.

    Raises:
        InputError: if there is none of this name, or it has no address.
    """
    given = {} if means.address is None else {"address": means.address}
    if given and "address" not in registry("backends").load(means.backend).model_fields:
        raise InputError(f"--address is {means.address!r}, but backend {means.backend} has none; expected ray")
    backend: Backend = registry("backends").make(means.backend, given)
    return backend


def _finished(folder: RunFolder) -> Run | None:
    """The complete run, which is never made again; None where it is missing, or an attack raised in it."""
    if not folder.complete:
        return None
    found = folder.read()
    return None if found.record.metrics.outcomes[Outcome.ERROR] else found


def _collect(evaluation: Evaluation, folder: RunFolder, means: Means, backend: Backend) -> list[Shard]:
    """The shards that count: those that were finished earlier, and the missing ones as the backend writes them."""
    done: dict[int, Shard] = {}
    for index in evaluation.shards:
        try:
            kept = folder.shard(index, evaluation.images(index))
        except CorruptArtifactError as error:
            means.progress.note(f"warning: shard {index} is made again: {error}")
            continue
        if kept is not None:
            done[index] = Shard(index, *kept, resumed=True)
    enough = Enough(evaluation.spec, len(evaluation.chosen))
    missing = [index for index in evaluation.shards if index not in done]
    before = sum(len(shard.rows) for shard in done.values())
    work = ShardWork(evaluation.job, means, this_process(), evaluation)
    folder.begin(len(evaluation.shards), evaluation.judgements, means.argv)
    made = make(work, backend, missing, lambda left: enough.wanted(left, done))
    with closing(made), stage(means.progress, "attack and judge", evaluation.judgements, "image", before) as advance:
        for index in made:
            done[index] = shard = work.written(index)
            advance(len(shard.rows))
            for text in shard.about["warnings"] if any(r.image_sha256 is None for r in shard.rows) else []:
                means.progress.note(f"warning: {text}")
    return enough.taken(done)
