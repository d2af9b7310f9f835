"""The work of one run, shard by shard: what a backend maps, and what becomes of shards whose workers die."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property

import torch

from bench.core.errors import BenchError, CorruptArtifactError
from bench.core.life import Life
from bench.core.plugins import Backend, Crew, Lost
from bench.engine.evaluation import Evaluation
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.resolve import defender_key
from bench.engine.shards import Shard
from bench.store.claims import Claims, released
from bench.store.keyring import Keyring
from bench.store.runs import RunFolder

_TRIES = 2  # workers that a shard may kill
_LOOK = 1.0  # seconds between two looks at shards that other processes make


class ShardWork:
    """Attack and judge any shard of a job, and write its file: what a backend maps over the shard numbers.

    It can be sent to another process as data: Spec, ids and means, without models and without the key. The first call
    there makes or loads the models; the key comes from the seed, or from the keyring by its fingerprint. A shard that
    is there already is never replaced, so a shard that is made twice counts once.

    Args:
        job: What is evaluated.
        means: Device, folders.
        driver: The process that gives out the shards; None if this one chooses its own.
        evaluation: With its models in memory, in this process.
        errors: Shards with ERROR count as done.
    """

    def __init__(
        self,
        job: Job,
        means: Means,
        driver: Life | None = None,
        evaluation: Evaluation | None = None,
        *,
        errors: bool = False,
    ) -> None:
        self._job, self.means, self._driver, self._errors = job, means, driver, errors
        if evaluation is not None:
            self.evaluation = evaluation

    @cached_property
    def evaluation(self) -> Evaluation:
        """The job with its models, which are made or loaded here."""
        if self._job.key is not None:
            return Evaluation(self._job, self.means)
        means = replace(self.means, readers=min(self.means.readers, torch.get_num_threads()))
        return Evaluation(replace(self._job, key=defender_key(self._job.spec, Keyring(means.home.keys))), means)

    @cached_property
    def folder(self) -> RunFolder:
        """Where the shards are written."""
        return self.means.results.run(self._job.run_id)

    @cached_property
    def claims(self) -> Claims:
        """Who makes which shard."""
        return self.folder.claims(self._driver, self.means.stale)

    def __call__(self, index: int) -> bool:
        """Make a shard by its number and write it; False if another process is making it."""
        held = self.claims.take(index)
        if held is None:
            return False
        with released(held):
            began, evaluation = time.monotonic(), self.evaluation
            if self.kept(index) is not None:
                return True
            if len(deaths := held.claim.deaths) >= _TRIES:
                self.set_aside(index, deaths[-1])
                return True
            held.judging()
            shard = evaluation.shard(index)
            self._write(replace(shard, about={**shard.about, "took": round(time.monotonic() - began, 3)}))
        return True

    def kept(self, index: int) -> Shard | None:
        """A shard that needs not be made; None if it is missing or damaged."""
        with suppress(CorruptArtifactError):
            found = self.folder.shard(index, self.evaluation.images(index), errors=self._errors)
            return Shard(index, *found) if found else None
        return None

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
        self.claims.drop(index)

    def _write(self, shard: Shard) -> None:
        self.folder.write_shard(shard.index, shard.rows, shard.about)

    def __reduce__(self) -> tuple[type[ShardWork], tuple[Job, Means, Life | None]]:
        return ShardWork, (replace(self._job, key=None), self.means.quiet, self._driver)


def make(
    work: ShardWork, backend: Backend, missing: Sequence[int], wanted: Callable[[list[int]], Iterator[int]]
) -> Generator[int, None, None]:
    """Numbers of shards as they are written; one that kills its worker twice is set aside, and the others go on.

    Args:
        work: The run.
        backend: Where it is done.
        missing: All shards that are not there.
        wanted: Of some of them, those that are needed, read as workers become free.

    Raises:
        BenchError: if workers die before they begin a shard.
    """
    crew, left, idle = Crew(work.means.workers, work.means.device), list(missing), 0
    while left:
        again, elsewhere = list[int](), list[int]()
        with closing(backend.map(work, wanted(left), crew)) as outcomes:
            for outcome in outcomes:
                index = outcome.item
                if isinstance(outcome, Lost):
                    deaths = work.claims.bury(index, outcome.why)
                    idle = 0 if deaths else idle + 1
                    if idle > _TRIES:
                        raise BenchError(f"workers died before they began a shard ({outcome.why}); finished shards are "
                                         "kept: run the same command again with fewer --workers")  # fmt: skip
                    work.means.progress.note(f"warning: the worker of shard {index} died ({outcome.why})")
                    if len(deaths) < _TRIES:
                        again.append(index)
                        continue
                    work.set_aside(index, outcome.why)
                elif not outcome.result:
                    elsewhere.append(index)
                    continue
                yield index
        while elsewhere and not again:
            found = [index for index in elsewhere if work.kept(index) is not None]
            yield from found
            elsewhere = [index for index in elsewhere if index not in found]
            again = [index for index in elsewhere if work.claims.free(index)]
            if elsewhere and not again and not found:
                time.sleep(_LOOK)
        left = again + [index for index in elsewhere if index not in again]
