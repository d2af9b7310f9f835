"""The work of one run, shard by shard: what a backend maps, and what becomes of shards whose workers die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property

import torch

from bench.core.errors import BenchError
from bench.core.plugins import Backend, Crew, Lost
from bench.engine.evaluation import Evaluation
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.resolve import defender_key
from bench.engine.shards import Shard
from bench.store.keyring import Keyring
from bench.store.runs import RunFolder

_TRIES = 2  # workers that a shard may kill


class ShardWork:
    """Attack and judge any shard of a job, and write its file: what a backend maps over the shard numbers.

    It can be sent to another process as data: Spec, ids and means, without models and without the key. The first call
    there makes or loads the models; the key comes from the seed, or from the keyring by its fingerprint. A shard that
    is there already is never replaced, so a shard that is made twice counts once.

    Args:
        job: What is evaluated.
        means: Device, folders.
        evaluation: With its models in memory, in this process.
    """

    def __init__(self, job: Job, means: Means, evaluation: Evaluation | None = None) -> None:
        self._job, self.means = job, means
        if evaluation is not None:
            self.evaluation = evaluation

    @cached_property
    def evaluation(self) -> Evaluation:
        """The job with its models, which are made or loaded here."""
        means = replace(self.means, readers=min(self.means.readers, torch.get_num_threads()))
        key = defender_key(self._job.spec, Keyring(means.home.keys))
        return Evaluation(replace(self._job, key=key), means)

    @cached_property
    def folder(self) -> RunFolder:
        """Where the shards are written."""
        return self.means.results.run(self._job.run_id)

    def __call__(self, index: int) -> int:
        """Make a shard by its number, and write it; its number."""
        self._write(self.evaluation.shard(index))
        return index

    def written(self, index: int) -> Shard:
        """A shard that has been written, also one with ERROR.

        Raises:
            BenchError: if it is not there, for example because this machine does not see the worker's folder.
        """
        found = self.folder.shard(index, self.evaluation.images(index), errors=True)
        if found is None:
            raise BenchError(f"shard {index} was made, but is not in {self.folder.path}; expected a results folder "
                             "that all workers share")  # fmt: skip
        return Shard(index, *found)

    def set_aside(self, index: int, why: str) -> None:
        """Write a shard without verdicts: all its images are ERROR."""
        self._write(self.evaluation.aside(index, f"killed its worker twice ({why})"))

    def _write(self, shard: Shard) -> None:
        self.folder.write_shard(shard.index, shard.rows, shard.about)

    def __reduce__(self) -> tuple[type[ShardWork], tuple[Job, Means]]:
        return ShardWork, (replace(self._job, key=None), self.means.quiet)


def make(
    work: ShardWork, backend: Backend, missing: Sequence[int], wanted: Callable[[list[int]], Iterator[int]]
) -> Generator[int, None, None]:
    """Numbers of shards as they are written; one that kills its worker twice is set aside, and the others go on.

    Args:
        work: The run.
        backend: Where it is done.
        missing: All shards that are not there.
        wanted: Of some of them, those that are needed, read as workers become free.
    """
    crew, killed = Crew(work.means.workers, work.means.device), Counter[int]()
    left = list(missing)
    while left:
        again: list[int] = []
        with closing(backend.map(work, wanted(left), crew)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Lost):
                    killed[outcome.item] += 1
                    work.means.progress.note(f"warning: the worker of shard {outcome.item} died ({outcome.why})")
                    if killed[outcome.item] < _TRIES:
                        again.append(outcome.item)
                        continue
                    work.set_aside(outcome.item, outcome.why)
                yield outcome.item
        left = again
