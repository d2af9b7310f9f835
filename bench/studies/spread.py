"""Many runs on several workers: whole runs are given out first; who has none left helps with those that others make."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from bench.core.devices import all_gpus
from bench.core.errors import BenchError, NotApplicableError
from bench.core.life import Life, this_process
from bench.core.plugins import Crew, Lost
from bench.engine.attend import attend
from bench.engine.evaluate import backend_of, with_images
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.progress import progress_of

Together = Sequence[Request]  # runs that share adversarial images, so that one process makes them one after another
_MANY = 1000  # workers of a cluster, whose number is not known here
_TRIES = 3  # workers of a group that may die before they begin a shard
_LOOK = 5.0  # seconds between two looks at runs that only other commands make


@dataclass(frozen=True)
class Failed:
    """A run that ended without a record, and why."""

    request: Request
    why: str


def worker_count(means: Means, default: int = 1) -> int:
    """Number of workers that share runs: as the user says, one per GPU, or the default."""
    return means.workers or len(all_gpus(means.device)) or default


def attend_all(groups: Sequence[Together], means: Means, *, most: int | None = None) -> tuple[int, list[Failed]]:
    """Make shards of all runs as one of several processes that know nothing of each other.

    Runs in which no other process is come first.

    Args:
        groups: The runs.
        means: Device, folders, progress.
        most: Stop after this number of shards.

    Returns:
        The number of shards made, and the runs that failed.
    """
    made, failed = 0, list[Failed]()
    jobs = [[_job(request, means) for request in group] for group in groups]
    waiting = list(range(len(groups)))
    while waiting and (most is None or made < most):
        number = next((g for g in waiting if not _attended(jobs[g], means)), waiting[0])
        waiting.remove(number)
        for job, request in zip(jobs[number], groups[number], strict=True):
            if most is None or made < most:
                try:
                    made += attend(job, means, most=None if most is None else most - made).made
                except NotApplicableError as error:
                    means.progress.note(f"left out: {error}")
                except BenchError as error:
                    means.progress.note(f"failed: {error}")
                    failed.append(Failed(request, str(error)))
    return made, failed


def make_all(groups: Sequence[Together], means: Means, done: Callable[[Request, str | None], None]) -> None:
    """Make all runs with the workers of a backend.

    Args:
        groups: The runs, in the order in which they are given out.
        means: Device, folders, backend, number of workers.
        done: Called for each run that ended, with why if it has no record.
    """
    backend = backend_of(means)
    crew = Crew(worker_count(means) if means.backend == "local" else means.workers, means.device)
    backend.check(crew)
    waiting, idle, ended = list(range(len(groups))), Counter[int](), set[tuple[int, int]]()
    jobs = [[_job(request, means) for request in group] for group in groups]

    def end(number: int, place: int, why: str | None) -> None:
        if (number, place) not in ended:
            ended.add((number, place))
            done(groups[number][place], why)

    while waiting:
        given = _given(waiting, jobs, means, crew.workers or _MANY)
        again, before = set[int](), len(ended)
        with closing(backend.map(Attending(groups, means, this_process()), given, crew)) as outcomes:
            for outcome in outcomes:
                number = outcome.item
                if isinstance(outcome, Lost):
                    begun = sum(_buried(job, means, outcome.why) for job in jobs[number])
                    idle[number] += not begun
                    means.progress.note(f"warning: a worker died ({outcome.why})")
                    again.add(number)
                    continue
                for place, why in enumerate(outcome.result):
                    if why is not None or means.results.run(jobs[number][place].run_id).complete:
                        end(number, place, why)
        for number in [n for n in again if idle[n] >= _TRIES]:
            for place in range(len(groups[number])):
                end(number, place, "its workers died before they began a shard; expected fewer --workers")
        waiting = [n for n in waiting if any((n, p) not in ended for p in range(len(groups[n])))]
        if waiting and not again and len(ended) == before:
            time.sleep(_LOOK)


class Attending:
    """Makes a group of runs, as far as nobody else does: what a backend maps over the numbers of groups."""

    def __init__(self, groups: Sequence[Together], means: Means, driver: Life) -> None:
        self._groups, self._means, self._driver = groups, means.quiet, driver

    def __call__(self, number: int) -> list[str | None]:
        """Why each run failed; None for those that did not."""
        return [self._made(request) for request in self._groups[number]]

    def _made(self, request: Request) -> str | None:
        try:
            attend(_job(request, self._means), self._means, driver=self._driver)
        except BenchError as error:
            return str(error)
        return None


def _job(request: Request, means: Means) -> Job:
    return with_images(resolve(request, Keyring(means.home.keys), ImagesHere(means)), means)


def _given(waiting: Sequence[int], jobs: Sequence[Sequence[Job]], means: Means, workers: int) -> Iterator[int]:
    """Numbers of groups as workers become free: each once, then those with shards that nobody holds."""
    times = Counter(waiting)
    yield from waiting
    while open_groups := [n for n in waiting if times[n] < workers and _shards_left(jobs[n], means)]:
        number = min(open_groups, key=lambda n: times[n])
        times[number] += 1
        yield number


def _shards_left(jobs: Sequence[Job], means: Means) -> bool:
    return any((found := progress_of(means.results.run(job.run_id))) and found.left for job in jobs)


def _attended(jobs: Sequence[Job], means: Means) -> bool:
    """Whether another process makes one of the runs."""
    folders = [means.results.run(job.run_id) for job in jobs]
    return any(folder.driver or folder.claims().all() for folder in folders if not folder.complete)


def _buried(job: Job, means: Means, why: str) -> int:
    claims = means.results.run(job.run_id).claims(this_process())
    dead = [index for index, claim in claims.all().items() if claims.lives(index, claim) is False]
    return sum(bool(claims.bury(index, why)) for index in dead)
