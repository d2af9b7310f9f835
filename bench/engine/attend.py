"""One run made by any number of processes that know nothing of each other: each makes shards that nobody holds."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from bench.core.errors import BusyError
from bench.core.life import Life
from bench.core.progress import stage
from bench.engine.early_stop import Enough
from bench.engine.evaluate import Began, finish, with_images
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.shards import Shard
from bench.engine.work import ShardWork
from bench.store.elsewhere import check_results
from bench.store.progress import progress_of
from bench.store.runs import RunFolder

_LOOK = 1.0  # seconds between two looks at claims of other machines


@dataclass(frozen=True)
class Attended:
    """What this process did for a run.

    Attributes:
        made: Number of shards.
        complete: Whether the run has its record.
    """

    made: int
    complete: bool


def attend(job: Job, means: Means, *, most: int | None = None, driver: Life | None = None) -> Attended:
    """Make shards of a run that no process holds until there are none left; whoever finds all of them finishes it.

    Shards with ERROR count as done: only ``bench run`` tries them again.

    Args:
        job: The evaluation.
        means: Device, folders, progress.
        most: Stop after this number of shards; None for no limit.
        driver: The process that chose the run; None if this one did.

    Raises:
        BenchError: as for :func:`bench.engine.evaluate.run`.
    """
    job = with_images(job, means)
    check_results(means.results.root)
    folder = means.results.run(job.run_id)
    if folder.complete or _others_do(folder):
        return Attended(0, complete=folder.complete)
    began, work = Began.now(), ShardWork(job, means, driver, errors=True)
    evaluation = work.evaluation
    folder.begin(len(evaluation.shards), evaluation.judgements, means.argv)
    with closing(evaluation.judging):
        made, shards = _made(work, most)
        if shards is None or folder.complete:
            return Attended(made, complete=folder.complete)
        try:
            with folder.locked():
                if not folder.complete:
                    finish(evaluation, folder, means, shards, began)
        except BusyError:  # of a driver, or of another one that found all shards: it finishes the run
            return Attended(made, complete=False)
    return Attended(made, complete=True)


def _others_do(folder: RunFolder) -> bool:
    """Whether other processes that are known to live make all that is left."""
    found = progress_of(folder)
    if found is None or found.left:
        return False
    return bool(found.running or found.driver) and all(one.state == "alive" for one in found.running)


def _made(work: ShardWork, most: int | None) -> tuple[int, list[Shard] | None]:
    """The number of shards made here; all shards that count, or None where other processes still make some."""
    evaluation, done, made = work.evaluation, dict[int, Shard](), 0
    enough = Enough(evaluation.spec, len(evaluation.chosen))
    progress, images = work.means.progress, evaluation.judgements
    with stage(progress, "attack and judge, with others", images, "image") as advance:
        while not work.folder.complete:
            new = {i: shard for i in evaluation.shards if i not in done and (shard := work.kept(i))}
            done |= new
            advance(sum(len(shard.rows) for shard in new.values()))
            wanted = list(enough.wanted([i for i in evaluation.shards if i not in done], done))
            if not wanted:
                return made, enough.taken(done)
            if made == most:
                break
            if any(work(index) for index in wanted):
                made += 1
            elif all(work.claims.known(index) for index in wanted):
                break
            else:
                time.sleep(_LOOK)
    return made, None
