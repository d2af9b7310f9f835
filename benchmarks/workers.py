"""What scheduling costs: shards of known length on real workers, and measured shards on up to 256 simulated ones.

    python benchmarks/workers.py --seconds 5 --shards 12 --workers 2 --shards-of results/<run id>

The overhead is what goes to anything but shards between the first shard of a worker and its last: its claims, the way
to the next shard. The start of the processes is not in it (see --ready). The simulation takes the times of shard files
(``took``; an unfinished run keeps its shards), or those of --seconds with a spread of a tenth, and gives shards out by
the rule that the engine follows.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

from bench.backends.local import Local
from bench.core.plugins import Crew, Lost
from bench.plan.schedule import schedule, shards_needed
from bench.store.claims import Claims, released
from bench.store.verdicts import read_rows

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Sleep:
    """A shard that takes a known time, and when it began and ended in which process; it is claimed like a real one."""

    def __init__(self, seconds: float, folder: Path) -> None:
        self._seconds, self._claims = seconds, Claims(folder)

    def __call__(self, index: int) -> tuple[int, float, float]:
        """Process, begin and end of the shard, without its claim."""
        held = self._claims.take(index)
        if held is None:
            raise SystemExit(f"shard {index} is held")
        with released(held):
            held.judging()
            began = time.monotonic()
            time.sleep(self._seconds)
            return os.getpid(), began, time.monotonic()


def overhead(seconds: float, shards: int, workers: int) -> float:
    """The share of the workers' time, from the first shard of each to its last, that goes to anything but shards."""
    spans: dict[int, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for outcome in Local().map(Sleep(seconds, Path(folder)), range(shards), Crew(workers)):
            if isinstance(outcome, Lost):
                raise SystemExit(f"worker lost: {outcome.why}")
            pid, began, ended = outcome.result
            spans.setdefault(pid, []).append((began, ended))
    wall = sum(own[-1][1] - own[0][0] for own in spans.values())
    return wall / sum(ended - began for own in spans.values() for began, ended in own) - 1


def measured(folder: Path) -> list[float]:
    """Seconds of the shards of a run."""
    files = sorted((folder / "shards").glob("[0-9]*.parquet"))
    abouts = [read_rows(path, address=f"{folder.name}/{int(path.stem)}")[1] for path in files]
    return [about.get("took", about["seconds"]) for about in abouts]


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ready", type=float, default=0.0, help="seconds until a worker begins its first shard")
    parser.add_argument("--shards-of", type=Path, help="folder of a run that still has its shards")
    given = parser.parse_args()
    lost = overhead(given.seconds, given.shards, given.workers)
    print(f"{given.shards} shards of {given.seconds:g} s on {given.workers} workers: overhead {lost:.2%}")
    drawn = random.Random(0)  # noqa: S311 (a simulation)
    times = measured(given.shards_of) if given.shards_of else []
    times = times or [drawn.uniform(0.9, 1.1) * given.seconds for _ in range(100)]
    print(f"{len(times)} shard times of {min(times):.2f} to {max(times):.2f} s, mean {sum(times) / len(times):.2f} s")
    print(f"{'workers':>8} {'shards for 95%':>15} {'efficiency':>11} {'tail (s)':>9} {'10x shards':>11}")
    for workers in WORKERS:
        count = shards_needed(times, workers, ready=given.ready)
        found = schedule(drawn.choices(times, k=count), workers, ready=given.ready)
        more = schedule(drawn.choices(times, k=10 * count), workers, ready=given.ready)
        print(f"{workers:>8} {count:>15} {found.efficiency:>11.3f} {found.tail:>9.2f} {more.efficiency:>11.3f}")


if __name__ == "__main__":
    main()
