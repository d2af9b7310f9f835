"""Runs killed at random points and begun again: `python killing.py HOME FOLDER ROUNDS SEED` prints what became of them.

A child is forked for every run, so that torch is imported once. A child dies by SIGKILL after a random time, by SIGKILL
at its n-th change of a file, or in the middle of writing one (by the limit on the size of files).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from bench.cli.main import main
from bench.store.runs import RunStore

RUN = ["bench", "run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=2",
       "--set", "profile.shard_size=1", "--set", "profile.judge_batch=2", "--set", "profile.batch_size=1",
       "--limit", "3"]  # fmt: skip
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "fcntl.flock", "os.chmod"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WAYS = ("time", "change", "change", "size")


def command(folder: Path) -> int:
    """The run, in this process."""
    sys.argv = [*RUN, "--results", str(folder / "results")]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class Changes:
    """Counts changes of files, and kills this process at the one that is given."""

    def __init__(self, last: int) -> None:
        self.count, self._last = 0, last

    def __call__(self, event: str, given: tuple[object, ...]) -> None:
        if event not in CHANGES or (event == "open" and not (isinstance(given[2], int) and given[2] & WRITES)):
            return
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def child(home: Path, folder: Path, *, change: int = 0, size: int = 0, after: float | None = None) -> int:
    """Run it in a child, which may be killed; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            out = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.environ["BENCH_HOME"] = str(home)
            if size:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            if change:
                sys.addaudithook(Changes(change))
            code = command(folder)
            sys.stdout.flush()
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fresh(home: Path, folder: Path) -> Path:
    """An empty folder with a home of its own, in which only the models are those of ``home``."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home" / "cache").mkdir(parents=True)
    (folder / "home" / "cache" / "models").symlink_to((home / "cache" / "models").resolve())
    return folder / "home"


def rounds(home: Path, folder: Path, count: int, seed: int) -> dict[str, object]:
    """Kill and complete the run ``count`` times; the first kills of four rounds are one of each of ``WAYS``."""
    torch.set_num_threads(1)
    os.environ["BENCH_HOME"] = str(fresh(home, folder))
    counted = Changes(0)
    sys.addaudithook(counted)
    if code := command(folder):
        raise SystemExit(code)
    began, total = time.monotonic(), counted.count
    child(fresh(home, folder), folder)
    takes = time.monotonic() - began
    expected, largest = digest(folder), max(p.stat().st_size for p in files(folder))
    draw, kills, failed = random.Random(seed), Counter[str](), list[str]()
    for number in range(count):
        own = fresh(home, folder)
        for kill in range(draw.choice((1, 1, 1, 2, 3))):
            way = draw.choice(WAYS) if kill else WAYS[number % len(WAYS)]
            at = {"change": {"change": draw.randint(1, total)}, "size": {"size": draw.randint(1, largest)},
                  "time": {"after": draw.uniform(0, takes)}}[way]  # fmt: skip
            kills[way] += child(own, folder, **at) < 0
        code = child(own, folder)
        kept = {"record.json", "verdicts.parquet"}
        left = [p.name for p in files(folder) if p.name not in kept and p.suffix != ".images"]
        if code or left or digest(folder) != expected:
            failed.append(f"round {number}: exit code {code}, left {left}, {(folder / 'log').read_text()[-300:]}")
    return {"rounds": count, "kills": dict(kills), "failed": failed, "seconds": takes, "changes": total}


def files(folder: Path) -> list[Path]:
    """All files of a round but its models."""
    return [p for part in ("results", "home/cache/adversarial") for p in (folder / part).rglob("*") if p.is_file()]


def digest(folder: Path) -> tuple[str, bytes]:
    """Of the verdicts, with their file."""
    store = RunStore(folder / "results")
    (run_id,) = store.ids()
    run = store.run(run_id)
    return run.read().record.digests.verdicts, run.verdicts_path.read_bytes()


if __name__ == "__main__":
    told = rounds(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(told), file=sys.__stderr__)
