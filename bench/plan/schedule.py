"""How long shards take on any number of workers: the rule by which they are given out, without the work."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

_DRAWS = 20  # samples of shard times for one number of shards
_MOST = 2**20  # shards


@dataclass(frozen=True)
class Schedule:
    """The course of a run.

    Attributes:
        seconds: From the first shard to the end of the last.
        tail: Seconds at the end in which a worker had nothing to do.
        efficiency: Share of the workers' time in which they worked.
    """

    seconds: float
    tail: float
    efficiency: float


def schedule(shards: Sequence[float], workers: int, *, ready: float = 0.0) -> Schedule:
    """Give shards out in order, each to the first worker that is free.

    Args:
        shards: Seconds of each shard; of several runs, all of them: whoever has no run left helps with another.
        workers: Number of workers.
        ready: Seconds until a worker can begin its first shard; they count as time without work.

    Raises:
        ValueError: if there are no shards or no workers.
    """
    if not shards or workers < 1:
        raise ValueError(f"{len(shards)} shards on {workers} workers; expected at least one of each")
    free = [ready] * workers
    for seconds in shards:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    end = max(free)
    return Schedule(end, end - min(free), sum(shards) / (end * workers) if end else 1.0)


def shards_needed(times: Sequence[float], workers: int, *, efficiency: float = 0.95, ready: float = 0.0) -> int:
    """The least number of shards, up to a tenth, with which ``workers`` reach an efficiency on average.

    Args:
        times: Seconds of measured shards, from which those of the run are drawn.
        workers: Number of workers.
        efficiency: The share of the workers' time to be reached.
        ready: As for :func:`schedule`.

    Raises:
        ValueError: if a million shards do not reach it.
    """
    count = workers
    while count < _MOST:
        drawn = random.Random(0)  # noqa: S311 (a simulation)
        found = [schedule(drawn.choices(times, k=count), workers, ready=ready).efficiency for _ in range(_DRAWS)]
        if sum(found) / len(found) >= efficiency:
            return count
        count += max(1, count // 10)
    raise ValueError(f"{_MOST} shards on {workers} workers do not reach an efficiency of {efficiency}")
