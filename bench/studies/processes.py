"""Runs spread over processes of this machine: small models leave most cores idle in one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

from bench.core.errors import BenchError
from bench.core.progress import Silent
from bench.engine.means import Means

Task = Any  # what a worker does with it is the caller's
Work = Callable[[Task, Means], str | None]
_PATIENCE = 5  # seconds for a process to end by itself


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    line: Connection
    left: int = 0  # tasks that it was given and has not told of


def spread(
    parts: Sequence[Sequence[Task]], work: Work, means: Means, jobs: int, done: Callable[[str | None], None]
) -> None:
    """Do all tasks; those of one part one after the other in one process.

    A process that is left alone (this one was killed) ends after the task that it is at.

    Args:
        parts: Tasks that share models or images, and so belong together; picklable.
        work: Does one task: what went wrong in one line, or None; a function of a module.
        means: With what; a process hears nothing of progress.
        jobs: Processes; they share the cores.
        done: Told of each task as it ends, in this process.

    Raises:
        BenchError: a process died; what is finished is kept.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would take over locks of torch's threads
    quiet = replace(means, progress=Silent(), training=replace(means.training, progress=Silent()))
    threads = max(1, torch.get_num_threads() // jobs)
    waiting, workers = list(parts), list[_Worker]()
    try:
        for _ in range(min(jobs, len(parts))):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(there, work, quiet, threads), daemon=True)
            with _quiet():
                process.start()
            there.close()
            workers.append(_Worker(process, here))
        while waiting or any(worker.left for worker in workers):
            for worker in workers:
                if not worker.left and waiting:
                    _give(worker, waiting.pop(0))
            busy = {id(worker.line): worker for worker in workers if worker.left}
            for line in wait([worker.line for worker in busy.values()]):
                done(_heard(busy[id(line)]))
    finally:
        for worker in workers:
            worker.line.close()
            if not worker.left:
                worker.process.join(_PATIENCE)  # it ends by itself, and tidies up
            worker.process.terminate()
            worker.process.join()


@contextmanager
def _quiet() -> Iterator[None]:
    """A process that starts now says nothing of what torch warns of itself, nor of what a killed one left open."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::FutureWarning,ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _give(worker: _Worker, part: Sequence[Task]) -> None:
    with suppress(OSError):  # of a process that died: _heard will tell
        worker.line.send(list(part))
    worker.left = len(part)


def _heard(worker: _Worker) -> str | None:
    try:
        said = cast("str | None", worker.line.recv())
    except (EOFError, OSError):
        worker.process.join(_PATIENCE)
        raise BenchError(
            f"a process of this command died (exit code {worker.process.exitcode}; out of memory?); what is finished "
            "is kept: the same command goes on, with --jobs 1 in one process"
        ) from None
    worker.left -= 1
    return said


def _serve(line: Connection, work: Work, means: Means, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; who started this one ends it
    torch.set_num_threads(threads)
    try:
        while True:
            for task in line.recv():
                line.send(work(task, means))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
